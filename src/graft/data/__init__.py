"""From a source to checked, split, decoded pictures. Never imports torch."""
