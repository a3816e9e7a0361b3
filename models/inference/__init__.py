"""Trained generators without a data set: from Python, for images of any size."""
