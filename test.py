"""Translate images with a trained model: python test.py --dataroot DIR --name RUN.

    python test.py --dataroot ./datasets/facades --name facades --model pix2pix --direction BtoA
    python test.py --dataroot ./photos --name maps_cyclegan --model test --model_suffix _A \
        --no_dropout

`python test.py --help` lists all options. Images and a page go to `results/RUN/test_latest`;
open `index.html` there in a browser.
"""

import os
import sys

if __name__ == "__main__":  # before the imports that take seconds
    from util.base.log import tell_of_loading
    from util.base.stop_signals import end_at_ctrl_c

    end_at_ctrl_c()
    tell_of_loading()

from argparse import Namespace
from collections.abc import Collection, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from typing import Any

import torch

from data import CustomDatasetDataLoader, create_dataset
from data.pipeline.loader import files_of
from models import create_model, find_model_using_name
from models.architectures.switches import keep_kernels
from models.base_model import BaseModel
from models.inference.padding import keep_sizes
from models.inference.tiles import compute_in_tiles
from models.storage.names import networks_of
from models.storage.trained_model import TrainedModel
from options.parsing.result import Result
from options.test_options import TestOptions
from util.base import rng, system
from util.base.commands import as_argument, command
from util.base.errors import about, run_command
from util.base.log import link_to, say, warn
from util.base.new_options import new_option
from util.base.plugins import declares
from util.display.create import create_sinks
from util.display.progress_bar import progress_bar
from util.display.reporter import Reporter
from util.html import HTML
from util.images.file_lists import folder_of
from util.images.reading import allow_large_images
from util.images.writing import ImageWriter
from util.inference.batching import images_at_once, processes_at_once
from util.inference.earlier_results import clear_away, images_on_page, remove_unfinished
from util.inference.layer_modes import LayerModes
from util.inference.parallel import in_processes
from util.inference.result_files import ResultFiles
from util.inference.result_names import ResultNames, results_folder
from util.inference.sharing import own_images
from util.inference.sheets import add_sheets
from util.inference.streams import own_seed
from util.inference.test_results import TestResults
from util.inference.trained_as import if_pairs, warn_of_other_sizes
from util.inference.visuals import SavedVisuals
from util.processes import group, launching
from util.processes.parts import own_pace
from util.processes.together import together
from util.scores.comparisons import OUTPUTS_FILE
from util.scores.sides import unequal_domains
from util.storage.old_names import in_names_of_today
from util.storage.run_folder import RunFolder
from util.storage.saved_options import read_saved_options
from util.visualizer import save_images


def main(argv: Sequence[str] | None = None) -> None:
    """Translate as the command line (or `argv`) says."""
    options = TestOptions()
    opt = options.parse(argv, quiet=True)
    if launching.must_be_started(opt):  # --gpu_ids 0,1: several processes, which begin here again
        launching.start(opt, __file__, argv)
        return
    with together(opt), group.alone():  # of several processes each translates some of the images
        test(opt, options.result)


def test(opt: Namespace, options: Result) -> None:
    """Translate; `options` knows which of them were given."""
    options.tell()
    if new_option(opt, "large_pictures"):
        allow_large_images()
    take_images_in_order(opt, options.given)
    dataset = create_dataset(opt)
    count = len(dataset) if opt.num_test < 0 else min(len(dataset), opt.num_test)
    dataset.sampler.length = min(dataset.sampler.length, count)
    paths = paths_of_items(dataset, opt, count)
    dataset.sampler.seeds = [own_seed(opt, [path]) for path in paths]
    warn_of_what_training_did_otherwise(opt, dataset)
    model = create_model(opt)
    model.setup(opt)  # loads the networks
    options.save()  # now that it is clear that there is such a run
    let_networks_compute_as_asked(opt, model)

    folder = results_folder(opt)
    say(f"creating web directory {folder}")
    webpage = HTML(folder, f"Experiment = {opt.name}, Phase = {opt.phase}, Epoch = {opt.epoch}")
    webpage.names = ResultNames(inputs_of(dataset, opt)[:count], folder_of(opt.dataroot))
    webpage.result_files = ResultFiles.of(opt)  # as deep as what goes in
    earlier = images_on_page(folder)
    if system.is_main_process():
        remove_unfinished(folder)
    images = own_images(opt, model, dataset.dataset, webpage, count, paths)
    reporter = Reporter(create_sinks(opt))  # starts a run of wandb with --use_wandb
    faster = torch.inference_mode(declares(type(model), "batch_independent"))
    with closing(reporter), faster:
        translate(opt, dataset, images, model, webpage)
        if not system.is_main_process():
            return  # the first process has everything now, and ends the test for all
        add_sheets(opt, model, webpage)  # of a model that makes something of all images together
    webpage.save()  # now that all its images are there
    clear_away(folder, earlier, read=chain.from_iterable(files_of(dataset.dataset).values()))
    say(where_results_are(opt, folder))
    if len(dataset) > count:
        warn(
            f"{count} of {len(dataset)} images were translated; "
            f"--num_test {len(dataset)} translates all."
        )


def let_networks_compute_as_asked(opt: Namespace, model: BaseModel) -> None:
    """Switch norms and dropout, and how images of other sizes are computed."""
    if opt.eval:
        model.eval()
    nets = networks_of(model)
    LayerModes.of(opt).switch(nets)
    for net in nets.values():
        keep_kernels(net)
        if tile := new_option(opt, "tile"):
            compute_in_tiles(net, tile, new_option(opt, "overlap"))
        if new_option(opt, "keep_size"):
            keep_sizes(net)


def translate(
    opt: Namespace,
    dataset: CustomDatasetDataLoader,
    images: range,
    model: BaseModel,
    webpage: HTML,
) -> None:
    """Save what the model makes of each of these images, and add it to the page as a row."""
    pairs = TrainedModel(model).validation_pairs  # what is compared, where the model says so
    results = TestResults(opt, dataset.dataset, model, pairs, webpage, images)
    at_once = processes_at_once(opt, type(model), len(images))
    dataset.sampler.only = images
    # Images are written beside the next ones; here all processes end together.
    with own_pace(), ImageWriter(), progress_bar("translating", len(images)) as bar:
        for batch, (made, sources) in in_processes(partial(run, opt, model), dataset, at_once):
            for visuals, paths in results.new_in(batch, made, sources):
                if results.count % 5 == 0:
                    say(f"processing ({results.count:04d})-th image... {paths}")
                save_images(webpage, results.to_save(visuals), paths, opt.aspect_ratio,
                            width=opt.display_winsize, use_wandb=opt.use_wandb)  # fmt: skip
                results.note(visuals, paths)  # scores, and what was made for which domain
                bar.update(1)
    results.gather()
    results.save()


def run(opt: Namespace, model: BaseModel, batch: dict[str, Any]) -> tuple[Any, Sequence[str]]:
    """Return what the model makes of a batch, by label, and where that came from."""
    model.set_input(batch)  # take the batch apart, move it to the device
    rng.seed_all(own_seed(opt, model.get_image_paths()))  # for dropout
    with about(", ".join(map(str, model.get_image_paths()))):
        model.test()  # forward without gradients
    return model.get_current_visuals(), model.get_image_paths()


def take_images_in_order(opt: Namespace, given: Collection[str]) -> None:
    """Set the options that a test decides itself, and the random numbers it begins with."""
    model_class = find_model_using_name(opt.model)
    opt.batch_size = images_at_once(opt, model_class, given="batch_size" in given)
    opt.num_threads = 0
    opt.serial_batches = True
    opt.no_flip = True
    opt.display_id = -1
    rng.seed_all(new_option(opt, "seed"))
    if new_option(opt, "deterministic"):
        rng.use_deterministic_algorithms()


def inputs_of(dataset: CustomDatasetDataLoader, opt: Namespace) -> list[str]:
    """Return the images that are translated, and name the results, as far as the data set tells."""
    source = "B_paths" if opt.direction == "BtoA" else "A_paths"
    files = files_of(dataset.dataset)
    for name in (source, "AB_paths", "A_paths", "image_paths", *files):
        if name in files:
            return files[name]
    return []


def paths_of_items(dataset: CustomDatasetDataLoader, opt: Namespace, count: int) -> list[str]:
    """Return a path of each item: of the image that no other item has, if one domain is smaller."""
    inputs, images = inputs_of(dataset, opt)[:count], vars(dataset.dataset)
    if not unequal_domains(dataset.dataset):
        return inputs
    longer = max(images["A_paths"], images["B_paths"], key=len)
    return [*inputs, *longer[len(inputs) : count]]


def warn_of_what_training_did_otherwise(opt: Namespace, dataset: CustomDatasetDataLoader) -> None:
    """Say in what these images are not what the run was trained on, after a quick look at them."""
    _, saved = read_saved_options(RunFolder(opt.checkpoints_dir, opt.name))
    trained = in_names_of_today(saved)
    dataset.warn_of_bad_images(if_pairs=if_pairs(opt, trained))
    warn_of_other_sizes(opt, trained)


def where_results_are(opt: Namespace, folder: str) -> str:
    """Say where the page is, and how to score the images if there are any to compare them with."""
    where = f"Images and page: {link_to(f'{folder}/index.html')}"
    if opt.model == "test" or not SavedVisuals.of(opt).can_be_scored:
        return where
    real = {}
    if os.path.isfile(os.path.join(folder, OUTPUTS_FILE)):
        real["diverse"] = os.path.join(opt.dataroot, "train")
    score = command("scripts/evaluate.py", real, as_argument(folder))
    return f"{where}\nScore them with:\n  {score}"


if __name__ == "__main__":
    sys.exit(run_command(main, several=True))
