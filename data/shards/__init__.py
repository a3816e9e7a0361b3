"""Data sets in tar files, as WebDataset writes them: local ones, and from the web."""
