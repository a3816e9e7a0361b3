"""What scripts/translate.py is made of."""
