"""Tests; a package, since other libraries install one of that name."""
