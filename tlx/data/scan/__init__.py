"""The scan of a person's own images: what is wrong with them, before anything trains."""
