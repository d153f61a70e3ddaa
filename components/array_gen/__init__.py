"""ArrayGen: the images that a training reads, decoded and resized once, as arrays on the disk."""
