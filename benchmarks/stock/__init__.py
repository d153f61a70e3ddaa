"""A TFX 1.21 image pipeline from standard components alone, to compare with."""
