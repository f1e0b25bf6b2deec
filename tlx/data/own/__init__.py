"""A person's own images: one file a source, and what the sources share."""
