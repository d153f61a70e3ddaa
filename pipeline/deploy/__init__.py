"""Pushed models on Kubernetes, through KServe."""
