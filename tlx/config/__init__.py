"""The typed schema and its checks. Imports neither torch nor Hydra."""
