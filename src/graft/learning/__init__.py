"""The cache of frozen activations, the gradient loop, and the recipe that trains a run."""
