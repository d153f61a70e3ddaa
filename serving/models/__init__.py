"""The pushed models in the server: watched, loaded, batched and run."""
