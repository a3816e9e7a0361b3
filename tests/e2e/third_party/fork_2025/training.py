# ruff: noqa
# fmt: off
"""A fork's own training script, written for the original of 2025."""
import time
from options.train_options import TrainOptions
from data import create_dataset
from models import create_model
from util.visualizer import Visualizer
from util.util import init_ddp, cleanup_ddp

if __name__ == "__main__":
    opt = TrainOptions().parse()
    opt.device = init_ddp()
    dataset = create_dataset(opt)
    dataset_size = len(dataset)
    print(f"fork: {dataset_size} images on {opt.device}")

    model = create_model(opt)
    model.setup(opt)
    visualizer = Visualizer(opt)
    total_iters = 0

    for epoch in range(opt.epoch_count, opt.n_epochs + opt.n_epochs_decay + 1):
        t_epoch = t_wait = time.time()
        epoch_iter = 0
        visualizer.reset()
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(epoch)
        print(f"fork: epoch {epoch} at lr {model.optimizers[0].param_groups[0]['lr']:.7f}")
        for i, data in enumerate(dataset):
            t_step = time.time()
            if total_iters % opt.print_freq == 0:
                t_data = t_step - t_wait
            total_iters += opt.batch_size
            epoch_iter += opt.batch_size
            model.set_input(data)
            model.optimize_parameters()

            if total_iters % opt.display_freq == 0:
                save_result = total_iters % opt.update_html_freq == 0
                model.compute_visuals()
                visualizer.display_current_results(model.get_current_visuals(), epoch, total_iters, save_result)

            if total_iters % opt.print_freq == 0:
                losses = model.get_current_losses()
                t_comp = (time.time() - t_step) / opt.batch_size
                visualizer.print_current_losses(epoch, epoch_iter, losses, t_comp, t_data)
                visualizer.plot_current_losses(total_iters, losses)

            if total_iters % opt.save_latest_freq == 0:
                model.save_networks(f"iter_{total_iters}" if opt.save_by_iter else "latest")
            t_wait = time.time()
        model.update_learning_rate()
        if epoch % opt.save_epoch_freq == 0:
            model.save_networks("latest")
            model.save_networks(epoch)
        print(f"fork: epoch {epoch} took {time.time() - t_epoch:.0f} s")

    cleanup_ddp()
