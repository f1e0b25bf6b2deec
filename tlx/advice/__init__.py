"""Advice: which case fits some images and a backbone, by evidence, trials and what came of other data sets."""
