"""Configs: read from TOML and flags, typed, and checked field by field."""
