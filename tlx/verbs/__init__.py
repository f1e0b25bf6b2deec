"""The verbs of the command line: each module reads as the table of contents of what it does."""
