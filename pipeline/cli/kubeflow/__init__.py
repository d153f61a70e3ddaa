"""What the command line does with Kubeflow Pipelines."""
