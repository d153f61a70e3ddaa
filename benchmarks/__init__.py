"""What is measured, and how; `python -m benchmarks --help` says what there is."""
