"""What many test files make anew: commands, images, models, a browser."""
