"""What the built-in adversarial models share."""
