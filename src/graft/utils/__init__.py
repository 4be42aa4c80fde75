"""Files that are never half-written, and progress for people."""
