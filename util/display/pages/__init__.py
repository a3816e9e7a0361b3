"""What the pages of pictures are made of."""
