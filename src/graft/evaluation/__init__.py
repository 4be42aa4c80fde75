"""Numbers from predictions: numpy in, numbers out. Never imports torch."""
