"""The built-in networks and losses."""
