"""Training: a run's phases one after another, each solved on features or trained by gradient descent; and races."""
