"""The custom Trainer: any framework's model, trained in a process of its own."""
