"""Scores that need a network: distances between sets of images, and perceptual distance."""
