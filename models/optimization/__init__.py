"""How steps are taken: schedules, accumulation, precision, speed."""
