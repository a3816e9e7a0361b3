"""Public names and positional call forms: other people's plugins and forks use them."""

import importlib
import inspect
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.base_model import BaseModel
from options.test_options import TestOptions
from options.train_options import TrainOptions
from tests.golden.formulas import script_main
from util.image_pool import ImagePool

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
    "util.get_data:GetData": {"technique": "cyclegan", "verbose": True},
    "util.get_data:GetData.get": {"self": REQUIRED, "save_path": REQUIRED, "dataset": None},
    "train:main": {"argv": None},
    "test:main": {"argv": None},
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
