"""Results: the run folder, what is written there and read back, and how it is shown."""
