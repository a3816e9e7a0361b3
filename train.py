"""Train a model: python train.py --dataroot DIR --name RUN --model cycle_gan (or pix2pix, ...).

    python train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan
    python train.py --dataroot ./datasets/facades --name facades --model pix2pix --direction BtoA

`python train.py --help` lists all options. Networks, losses and pictures go to
`checkpoints/RUN`; open `checkpoints/RUN/web/index.html` in a browser.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Sequence

from data import create_dataset
from models import create_model
from models.base_model import BaseModel
from options.train_options import TrainOptions
from util.errors import run_command
from util.log import say
from util.meters import RunningMean
from util.progress import Progress
from util.progress_bar import epoch_bar
from util.visualizer import Visualizer


def main(argv: Sequence[str] | None = None) -> None:
    """Train as the command line (or `argv`) says."""
    opt = TrainOptions().parse(argv)
    dataset = create_dataset(opt)  # iterates over batches; its length counts images
    say(f"The number of training images = {len(dataset)}")
    model = create_model(opt)
    model.setup(opt)  # schedules, and the networks to continue with
    visualizer = Visualizer(opt)

    progress = Progress(epoch=opt.epoch_count)
    last_epoch = opt.n_epochs + opt.n_epochs_decay
    while progress.epoch <= last_epoch:
        epoch_began = time.time()
        visualizer.reset()
        generator_loss = RunningMean()
        dataset.sampler.epoch = progress.epoch
        with epoch_bar(progress.epoch, last_epoch, len(dataset)) as bar:
            waiting_since = time.time()
            for batch in dataset:
                step_began = time.time()
                model.set_input(batch)
                model.optimize_parameters()
                generator_loss.add(model.generator_loss())
                progress.advance(opt.batch_size)
                bar.update(opt.batch_size)
                seconds = (time.time() - step_began) / opt.batch_size
                report(opt, model, visualizer, progress, len(dataset), seconds,
                       step_began - waiting_since)  # fmt: skip
                waiting_since = time.time()

        if not visualizer.saved:  # fewer images than --display_freq: show the last ones
            model.compute_visuals()
            visualizer.display_current_results(model.get_current_visuals(), progress.epoch, True)
        model.metric = generator_loss.mean() or 0.0  # for --lr_policy plateau
        model.update_learning_rate()
        if progress.epoch % opt.save_epoch_freq == 0 or progress.epoch == last_epoch:
            say(
                f"saving the model at the end of epoch {progress.epoch}, "
                f"iters {progress.total_images}"
            )
            model.save_networks("latest")
            model.save_networks(progress.epoch)
        took = int(time.time() - epoch_began)
        say(f"End of epoch {progress.epoch} / {last_epoch} \t Time Taken: {took} sec")
        progress.next_epoch()
    visualizer.close()


def report(
    opt: Namespace,
    model: BaseModel,
    visualizer: Visualizer,
    progress: Progress,
    epoch_size: int,
    seconds_per_image: float,
    seconds_waited: float,
) -> None:
    """Show, print and save whatever is due after this step."""
    if progress.crossed(opt.display_freq):
        model.compute_visuals()
        visualizer.display_current_results(
            model.get_current_visuals(), progress.epoch, progress.crossed(opt.update_html_freq)
        )
    if progress.crossed(opt.print_freq):
        losses = model.get_current_losses()
        visualizer.print_current_losses(
            progress.epoch, progress.epoch_images, losses, seconds_per_image, seconds_waited,
            total_iters=progress.total_images,
        )  # fmt: skip
        if opt.display_id > 0:
            done = progress.epoch_images / epoch_size
            visualizer.plot_current_losses(progress.epoch, done, losses)
    if progress.crossed(opt.save_latest_freq):
        images = progress.total_images
        say(f"saving the latest model (epoch {progress.epoch}, total_iters {images})")
        model.save_networks(f"iter_{images}" if opt.save_by_iter else "latest")


if __name__ == "__main__":
    sys.exit(run_command(main))
