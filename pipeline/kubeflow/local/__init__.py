"""A compiled pipeline run on this machine as Kubeflow's backend does."""
