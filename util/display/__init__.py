"""What people see: the progress line, sinks, pages."""
