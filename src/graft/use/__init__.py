"""What a trained run is for: predict, evaluate."""
