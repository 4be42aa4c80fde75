"""graft and its peers on the same images, the same split, the same network, in one run."""
