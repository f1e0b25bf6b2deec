"""Data: sources of labelled images, their splits, their preparation, and the order in which they are read."""
