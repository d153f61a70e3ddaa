"""A config compiled to a spec of Kubeflow Pipelines."""
