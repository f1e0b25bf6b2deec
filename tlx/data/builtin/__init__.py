"""The built-in image sets: drawn from a seed by what is already installed, never downloaded.

`letters` renders fonts, `digits` takes scikit-learn's handwriting, `patches` cuts up photographs; the `draw` of each
returns a `drawn.Drawn`.
"""
