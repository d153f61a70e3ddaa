"""Kubeflow Pipelines on a cluster: sent to, and waited for."""
