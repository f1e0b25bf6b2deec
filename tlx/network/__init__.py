"""Networks: a backbone, its weights, where it is cut, what is frozen, and the new head."""
