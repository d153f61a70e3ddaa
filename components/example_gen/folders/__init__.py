"""Image folders: which files are images, and which folders are classes or splits."""
