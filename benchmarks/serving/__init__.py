"""Served models under load, beside the bare call and other servers; see `__main__`."""
