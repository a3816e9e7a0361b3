"""How options are parsed, checked and taken over from earlier runs."""
