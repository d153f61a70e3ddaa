"""Lineage as a picture."""
