"""Between files, arrays and tensors: read, write, transform images."""
