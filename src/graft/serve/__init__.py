"""`graft serve`: trained runs behind HTTP, for programs."""
