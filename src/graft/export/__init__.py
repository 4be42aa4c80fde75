"""Ways out: a run's classifier as a file that other programs use, with proof that it agrees."""
