"""What the pages of images are made of."""
