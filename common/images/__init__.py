"""Image files: from their bytes to the pixels that a model sees, wherever it is asked."""
