"""The metadata store: where it is, what it holds, and how it is read and written."""
