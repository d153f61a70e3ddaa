"""What Kubernetes takes, for deployments and for the tasks of Kubeflow alike."""
