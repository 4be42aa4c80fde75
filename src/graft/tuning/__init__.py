"""`graft tune`: the best classifier that a time budget allows, and an honest figure for it."""
