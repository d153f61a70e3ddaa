"""Lineage handed on: exports, imports and OpenLineage events."""
