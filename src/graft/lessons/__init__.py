"""The lessons: notebooks that teach image classification, and how to open them."""
