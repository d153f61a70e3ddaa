"""The PyTorch backend: timm's architectures, two small networks, the user's own."""
