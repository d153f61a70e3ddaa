"""What clients speak: one module per protocol, over `serving.service`."""
