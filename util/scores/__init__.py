"""Scores that need a network: distances between sets of pictures, and perceptual distance."""
