"""What a trained run is for: predictions, nearest training images, new data."""
