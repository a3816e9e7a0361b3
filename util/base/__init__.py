"""What everything stands on: errors, lines on the console, plugins, random numbers."""
