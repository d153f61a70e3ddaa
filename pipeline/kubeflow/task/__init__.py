"""One component in its container."""
