"""What a run records about itself: code, packages, machine, person and cache keys."""
