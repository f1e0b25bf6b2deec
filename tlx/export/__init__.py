"""Export: a run's network in formats that other programs read, its preprocessing inside where the format has room."""
