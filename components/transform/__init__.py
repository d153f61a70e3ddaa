"""Transform: the one place where images are decoded and resized, as a graph that models carry."""
