"""Groups of commands; `pipeline.cli` puts them together."""
