"""Live plots and images on a visdom server."""
