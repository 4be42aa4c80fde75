"""Pages and plots made from a finished run. Never imports torch."""
