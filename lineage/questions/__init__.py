"""The questions, each with its answer as a dataclass."""
