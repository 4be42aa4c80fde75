"""From a source to checked, split, decoded images. Never imports torch."""
