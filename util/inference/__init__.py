"""What test.py is made of."""
