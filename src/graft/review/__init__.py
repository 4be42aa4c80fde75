"""Looking through a data set: which labels to look at first, and what to label next."""
