"""From a source to a finished run. Read recipe.py first."""
