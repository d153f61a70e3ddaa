"""The files behind the records: verified, kept, removed and erased."""
