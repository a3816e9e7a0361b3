"""Generators at work: any size, and images that are larger than memory."""
