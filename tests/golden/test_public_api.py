"""Public names and positional call forms: other people's plugins and forks use them."""

import importlib
import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.base_model import BaseModel
from options.test_options import TestOptions
from options.train_options import TrainOptions
from tests.golden.formulas import script_main
from util.html import HTML
from util.image_pool import ImagePool
from util.util import init_ddp
from util.visualizer import Visualizer

pytestmark = pytest.mark.golden

INF = float("inf")
BICUBIC = Image.Resampling.BICUBIC
ANY = object()  # a default that must exist, whatever it is
REQUIRED = inspect.Parameter.empty

# Parameters that may be given by position, in order, with their defaults.
CALLS: dict[str, dict[str, Any]] = {
    "data:create_dataset": {"opt": REQUIRED},
    "data:find_dataset_using_name": {"dataset_name": REQUIRED},
    "data:get_option_setter": {"dataset_name": REQUIRED},
    "data:CustomDatasetDataLoader": {"opt": REQUIRED},
    "data:CustomDatasetDataLoader.load_data": {"self": REQUIRED},
    "data:CustomDatasetDataLoader.set_epoch": {"self": REQUIRED, "epoch": REQUIRED},
    "data.base_dataset:BaseDataset": {"opt": REQUIRED},
    "data.base_dataset:BaseDataset.modify_commandline_options": {
        "parser": REQUIRED,
        "is_train": REQUIRED,
    },
    "data.base_dataset:get_params": {"opt": REQUIRED, "size": REQUIRED},
    "data.base_dataset:get_transform": {
        "opt": REQUIRED,
        "params": None,
        "grayscale": False,
        "method": BICUBIC,
        "convert": True,
    },
    "data.base_dataset:__transforms2pil_resize": {"method": REQUIRED},
    "data.base_dataset:__make_power_2": {"img": REQUIRED, "base": REQUIRED, "method": BICUBIC},
    "data.base_dataset:__scale_width": {
        "img": REQUIRED,
        "target_size": REQUIRED,
        "crop_size": REQUIRED,
        "method": BICUBIC,
    },
    "data.base_dataset:__crop": {"img": REQUIRED, "pos": REQUIRED, "size": REQUIRED},
    "data.base_dataset:__flip": {"img": REQUIRED, "flip": REQUIRED},
    "data.base_dataset:__print_size_warning": {
        "ow": REQUIRED,
        "oh": REQUIRED,
        "w": REQUIRED,
        "h": REQUIRED,
    },
    "data.image_folder:make_dataset": {"dir": REQUIRED, "max_dataset_size": INF},
    "data.image_folder:is_image_file": {"filename": REQUIRED},
    "data.image_folder:default_loader": {"path": REQUIRED},
    "data.image_folder:ImageFolder": {
        "root": REQUIRED,
        "transform": None,
        "return_paths": False,
        "loader": ANY,
    },
    "models:create_model": {"opt": REQUIRED},
    "models:find_model_using_name": {"model_name": REQUIRED},
    "models:get_option_setter": {"model_name": REQUIRED},
    "models.base_model:BaseModel": {"opt": REQUIRED},
    "models.base_model:BaseModel.modify_commandline_options": {
        "parser": REQUIRED,
        "is_train": REQUIRED,
    },
    "models.base_model:BaseModel.set_input": {"self": REQUIRED, "input": REQUIRED},
    "models.base_model:BaseModel.forward": {"self": REQUIRED},
    "models.base_model:BaseModel.optimize_parameters": {"self": REQUIRED},
    "models.base_model:BaseModel.setup": {"self": REQUIRED, "opt": REQUIRED},
    "models.base_model:BaseModel.eval": {"self": REQUIRED},
    "models.base_model:BaseModel.test": {"self": REQUIRED},
    "models.base_model:BaseModel.compute_visuals": {"self": REQUIRED},
    "models.base_model:BaseModel.get_image_paths": {"self": REQUIRED},
    "models.base_model:BaseModel.update_learning_rate": {"self": REQUIRED},
    "models.base_model:BaseModel.get_current_visuals": {"self": REQUIRED},
    "models.base_model:BaseModel.get_current_losses": {"self": REQUIRED},
    "models.base_model:BaseModel.save_networks": {"self": REQUIRED, "epoch": REQUIRED},
    "models.base_model:BaseModel.load_networks": {"self": REQUIRED, "epoch": REQUIRED},
    "models.base_model:BaseModel.print_networks": {"self": REQUIRED, "verbose": REQUIRED},
    "models.base_model:BaseModel.set_requires_grad": {
        "self": REQUIRED,
        "nets": REQUIRED,
        "requires_grad": False,
    },
    "models.base_model:BaseModel._BaseModel__patch_instance_norm_state_dict": {
        "self": REQUIRED,
        "state_dict": REQUIRED,
        "module": REQUIRED,
        "keys": REQUIRED,
        "i": 0,
    },
    "models.template_model:TemplateModel.backward": {"self": REQUIRED},
    "models.networks:ResnetBlock.build_conv_block": {
        "self": REQUIRED,
        "dim": REQUIRED,
        "padding_type": REQUIRED,
        "norm_layer": REQUIRED,
        "use_dropout": REQUIRED,
        "use_bias": REQUIRED,
    },
    "models.networks:define_G": {
        "input_nc": REQUIRED,
        "output_nc": REQUIRED,
        "ngf": REQUIRED,
        "netG": REQUIRED,
        "norm": "batch",
        "use_dropout": False,
        "init_type": "normal",
        "init_gain": 0.02,
        "gpu_ids": ANY,
    },
    "models.networks:define_D": {
        "input_nc": REQUIRED,
        "ndf": REQUIRED,
        "netD": REQUIRED,
        "n_layers_D": 3,
        "norm": "batch",
        "init_type": "normal",
        "init_gain": 0.02,
        "gpu_ids": ANY,
    },
    "models.networks:GANLoss": {
        "gan_mode": REQUIRED,
        "target_real_label": 1.0,
        "target_fake_label": 0.0,
    },
    "models.networks:GANLoss.forward": {
        "self": REQUIRED,
        "prediction": REQUIRED,
        "target_is_real": REQUIRED,
    },
    "models.networks:GANLoss.get_target_tensor": {
        "self": REQUIRED,
        "prediction": REQUIRED,
        "target_is_real": REQUIRED,
    },
    "models.networks:cal_gradient_penalty": {
        "netD": REQUIRED,
        "real_data": REQUIRED,
        "fake_data": REQUIRED,
        "device": REQUIRED,
        "type": "mixed",
        "constant": 1.0,
        "lambda_gp": 10.0,
    },
    "models.networks:get_norm_layer": {"norm_type": "instance"},
    "models.networks:get_scheduler": {"optimizer": REQUIRED, "opt": REQUIRED},
    "models.networks:init_weights": {"net": REQUIRED, "init_type": "normal", "init_gain": 0.02},
    "models.networks:init_net": {
        "net": REQUIRED,
        "init_type": "normal",
        "init_gain": 0.02,
        "gpu_ids": ANY,
    },
    "models.networks:ResnetGenerator": {
        "input_nc": REQUIRED,
        "output_nc": REQUIRED,
        "ngf": 64,
        "norm_layer": ANY,
        "use_dropout": False,
        "n_blocks": 6,
        "padding_type": "reflect",
    },
    "models.networks:ResnetBlock": {
        "dim": REQUIRED,
        "padding_type": REQUIRED,
        "norm_layer": REQUIRED,
        "use_dropout": REQUIRED,
        "use_bias": REQUIRED,
    },
    "models.networks:UnetGenerator": {
        "input_nc": REQUIRED,
        "output_nc": REQUIRED,
        "num_downs": REQUIRED,
        "ngf": 64,
        "norm_layer": ANY,
        "use_dropout": False,
    },
    "models.networks:UnetSkipConnectionBlock": {
        "outer_nc": REQUIRED,
        "inner_nc": REQUIRED,
        "input_nc": None,
        "submodule": None,
        "outermost": False,
        "innermost": False,
        "norm_layer": ANY,
        "use_dropout": False,
    },
    "models.networks:NLayerDiscriminator": {
        "input_nc": REQUIRED,
        "ndf": 64,
        "n_layers": 3,
        "norm_layer": ANY,
    },
    "models.networks:PixelDiscriminator": {"input_nc": REQUIRED, "ndf": 64, "norm_layer": ANY},
    "models.networks:Identity.forward": {"self": REQUIRED, "x": REQUIRED},
    "options.train_options:TrainOptions": {"cmd_line": None},
    "options.train_options:TrainOptions.initialize": {"self": REQUIRED, "parser": REQUIRED},
    "options.train_options:TrainOptions.print_options": {"self": REQUIRED, "opt": REQUIRED},
    "options.test_options:TestOptions": {"cmd_line": None},
    "options.test_options:TestOptions.initialize": {"self": REQUIRED, "parser": REQUIRED},
    "util.image_pool:ImagePool": {"pool_size": REQUIRED},
    "util.image_pool:ImagePool.query": {"self": REQUIRED, "images": REQUIRED},
    "util.visualizer:Visualizer": {"opt": REQUIRED},
    "util.visualizer:Visualizer.reset": {"self": REQUIRED},
    "util.visualizer:Visualizer.display_current_results": {
        "self": REQUIRED,
        "visuals": REQUIRED,
        "epoch": REQUIRED,
        "save_result": REQUIRED,
    },
    "util.visualizer:Visualizer.plot_current_losses": {
        "self": REQUIRED,
        "epoch": REQUIRED,
        "counter_ratio": REQUIRED,
        "losses": REQUIRED,
    },
    "util.visualizer:Visualizer.print_current_losses": {
        "self": REQUIRED,
        "epoch": REQUIRED,
        "iters": REQUIRED,
        "losses": REQUIRED,
        "t_comp": REQUIRED,
        "t_data": REQUIRED,
    },
    "util.visualizer:Visualizer.create_visdom_connections": {"self": REQUIRED},
    "util.visualizer:Visualizer.set_dataset_size": {"self": REQUIRED, "dataset_size": REQUIRED},
    "util.visualizer:save_images": {
        "webpage": REQUIRED,
        "visuals": REQUIRED,
        "image_path": REQUIRED,
        "aspect_ratio": 1.0,
        "width": 256,
        "use_wandb": False,
    },
    "util.html:HTML": {"web_dir": REQUIRED, "title": REQUIRED, "refresh": 0},
    "util.html:HTML.get_image_dir": {"self": REQUIRED},
    "util.html:HTML.add_header": {"self": REQUIRED, "text": REQUIRED},
    "util.html:HTML.add_images": {
        "self": REQUIRED,
        "ims": REQUIRED,
        "txts": REQUIRED,
        "links": REQUIRED,
        "width": 400,
    },
    "util.html:HTML.save": {"self": REQUIRED},
    "util.util:tensor2im": {"input_image": REQUIRED, "imtype": np.uint8},
    "util.util:save_image": {"image_numpy": REQUIRED, "image_path": REQUIRED, "aspect_ratio": 1.0},
    "util.util:mkdirs": {"paths": REQUIRED},
    "util.util:mkdir": {"path": REQUIRED},
    "util.util:diagnose_network": {"net": REQUIRED, "name": "network"},
    "util.util:print_numpy": {"x": REQUIRED, "val": True, "shp": False},
    "util.util:init_ddp": {},
    "util.util:cleanup_ddp": {},
    "util.get_data:GetData": {"technique": "cyclegan", "verbose": True},
    "util.get_data:GetData.get": {"self": REQUIRED, "save_path": REQUIRED, "dataset": None},
    "train:main": {"argv": None},
    "test:main": {"argv": None},
}

for _model in ("CycleGAN", "Pix2Pix", "Colorization", "Template", "Test"):
    _module = {"CycleGAN": "cycle_gan"}.get(_model, _model.lower())
    CALLS[f"models.{_module}_model:{_model}Model.modify_commandline_options"] = {
        "parser": REQUIRED,
        "is_train": True,
    }

# What else other people's code takes from the original's modules, also by `from ... import *`.
NAMES = {
    "models.networks": "functools init lr_scheduler nn torch",
    "models.base_model": "ABC OrderedDict abstractmethod networks os torch",
    "models.cycle_gan_model": "BaseModel ImagePool itertools networks torch",
    "models.pix2pix_model": "BaseModel networks torch",
    "models.colorization_model": "Pix2PixModel np torch",
    "models.template_model": "BaseModel networks torch",
    "models.test_model": "BaseModel networks",
    "data.base_dataset": "ABC BaseDataset Image abstractmethod data get_params get_transform np "
    "random transforms",
    "data.image_folder": "IMG_EXTENSIONS Image ImageFolder data default_loader is_image_file "
    "make_dataset os",
    "data.aligned_dataset": "BaseDataset Image get_params get_transform make_dataset os",
    "data.unaligned_dataset": "BaseDataset Image get_transform make_dataset os random",
    "data.single_dataset": "BaseDataset Image get_transform make_dataset",
    "data.colorization_dataset": "BaseDataset Image get_transform make_dataset np os",
    "data.template_dataset": "BaseDataset get_transform",
    "util.util": "Image np os torch",
    "util.image_pool": "random torch",
    "util.visualizer": "VisdomExceptionBase",
}


def resolve(name: str) -> Any:
    """Return what `module:attribute.attribute` names."""
    module, _, path = name.partition(":")
    found: Any = scripts(module) if module in {"train", "test"} else importlib.import_module(module)
    for part in path.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    return found


def scripts(name: str) -> dict[str, Any]:
    """Return the names of a script; `import test` may find the standard library's package."""
    return {"main": script_main(name)}


@pytest.mark.parametrize("name", CALLS)
def test_call_form_is_kept(name: str) -> None:
    parameters = list(inspect.signature(resolve(name)).parameters.values())
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    wanted = CALLS[name]
    assert [p.name for p in positional] == list(wanted)
    for parameter in positional:
        default = wanted[parameter.name]
        if default is ANY:
            assert parameter.default is not REQUIRED, parameter.name
        else:
            assert parameter.default == default, parameter.name
    added = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert all(p.default is not REQUIRED for p in added), "new parameters must be optional"


@pytest.mark.parametrize("module", NAMES)
def test_names_that_the_originals_modules_hold_are_there(module: str) -> None:
    found: dict[str, Any] = {}
    exec(f"from {module} import *", found)
    imported = importlib.import_module(module)
    for name in NAMES[module].split():
        assert hasattr(imported, name), name
        assert found[name] is getattr(imported, name)


def test_options_can_be_parsed_without_arguments() -> None:
    for options in (TrainOptions, TestOptions):
        parameters = inspect.signature(options().parse).parameters.values()
        assert all(p.default is not REQUIRED for p in parameters)


def test_extensions_contain_those_of_the_reference() -> None:
    from data.image_folder import IMG_EXTENSIONS

    recorded = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff"}
    assert recorded <= {extension.lower() for extension in IMG_EXTENSIONS}
    assert all(extension.startswith(".") for extension in IMG_EXTENSIONS)


class SmallModel(BaseModel):
    """The least that a model of a third party defines."""

    def set_input(self, input: dict[str, Any]) -> None:
        del input

    def forward(self) -> None: ...

    def optimize_parameters(self) -> None: ...


def test_base_model_has_the_attributes_that_plugins_use() -> None:
    opt = TrainOptions().gather_options(["--dataroot", "X", "--name", "run"])
    opt.isTrain, opt.gpu_ids = True, []
    model = SmallModel(opt)
    assert (model.opt, model.gpu_ids, model.isTrain) == (opt, [], True)
    assert model.device.type == "cpu"
    assert model.save_dir.replace("\\", "/") == "./checkpoints/run"
    assert model.metric == 0
    for name in ("loss_names", "model_names", "visual_names", "optimizers", "image_paths"):
        assert list(getattr(model, name)) == [], name
    assert list(model.schedulers) == []


def test_image_pool_keeps_the_attributes_that_forks_read() -> None:
    pool = ImagePool(3)
    assert pool.pool_size == 3


def test_a_visualizer_has_the_attributes_that_forks_read(tmp_path: Path) -> None:
    argv = ["--dataroot", "X", "--name", "run", "--checkpoints_dir", str(tmp_path), "--no_html"]
    opt = TrainOptions().parse([*argv, "--display_id", "0", "--gpu_ids", "-1"])
    visualizer = Visualizer(opt)
    assert (visualizer.ncols, visualizer.port, visualizer.current_epoch) == (4, 8097, 0)
    assert (visualizer.use_wandb, visualizer.wandb_run) == (False, None)
    assert visualizer.wandb_project_name == "CycleGAN-and-pix2pix"
    assert not visualizer.saved
    visualizer.saved = True  # as in the `reset` of forks
    assert visualizer.saved
    assert not hasattr(visualizer, "plot_data")  # until something is plotted
    visualizer.plot_current_losses(2, 0.5, {"G": 1.0, "D": 3.0})
    visualizer.plot_current_losses(2, 0.75, {"G": 2.0, "D": 4.0})
    wanted = {"X": [2.5, 2.75], "Y": [[1.0, 3.0], [2.0, 4.0]], "legend": ["G", "D"]}
    assert visualizer.plot_data == wanted


def test_folders_are_text_as_in_2024_and_paths_as_in_2025(tmp_path: Path) -> None:
    argv = ["--dataroot", "X", "--name", "run", "--checkpoints_dir", str(tmp_path)]
    opt = TrainOptions().parse([*argv, "--display_id", "0", "--gpu_ids", "-1"])
    visualizer, page = Visualizer(opt), HTML(tmp_path / "page", "title")
    folders: list[Any] = [SmallModel(opt).save_dir, visualizer.web_dir, visualizer.img_dir]
    folders += [page.web_dir, page.get_image_dir(), visualizer.log_name]
    for folder in folders:
        assert issubclass(type(folder), str)
        assert issubclass(type(folder), os.PathLike)
        assert "x" / folder == "x" / Path(folder)
        assert f"{folder + os.sep}x" == os.path.join(folder, "x") == str(folder / "x")
        assert (folder.parent / folder.name).exists()


def test_a_device_follows_the_gpus_unless_a_script_sets_it() -> None:
    opt: Any = TrainOptions().parse(["--dataroot", "X", "--gpu_ids", "-1"], quiet=True)
    assert opt.device == torch.device("cpu")
    opt.gpu_ids = [1]
    assert opt.device == torch.device("cuda:1")
    opt.device = torch.device("cuda")
    assert (opt.gpu_ids, opt.device) == ([0], torch.device("cuda:0"))
    opt.device = init_ddp() if not torch.cuda.is_available() else torch.device("cpu")
    assert (opt.gpu_ids, opt.device) == ([], torch.device("cpu"))
    assert "device" not in vars(opt)
    opt.device = torch.device("mps")
    assert SmallModel(opt).device == opt.device == torch.device("mps")
