"""Layers that compute the same in less time or memory; nobody needs to read them to use them."""
