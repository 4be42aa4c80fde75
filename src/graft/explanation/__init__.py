"""What a network computes, layer by layer, and what in an image it answers by."""
