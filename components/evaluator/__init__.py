"""The Evaluator: metrics, the comparison with what is served, and the verdict."""
