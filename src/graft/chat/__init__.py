"""Questions about a classifier, answered from evidence computed at that moment."""
