"""Random changes to training images: drawn here once, in NumPy, and applied by each framework."""
