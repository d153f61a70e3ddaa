"""The pipeline on Kubeflow Pipelines: compiled, run there, and run here as there."""
