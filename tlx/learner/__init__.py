"""Learner: training by gradient descent through Lightning."""
