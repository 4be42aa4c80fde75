"""The run folder: the only place that reads or writes it."""
