"""Helpers that know nothing of options, models or data sets."""
