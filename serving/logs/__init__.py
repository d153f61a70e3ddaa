"""What the server tells: logs, metrics and the log of requests."""
