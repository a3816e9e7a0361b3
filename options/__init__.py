"""Command-line options: those of the framework, of the model and of the data set."""
