"""Features of frozen trunks, computed once, and the solvers that train heads on them."""
