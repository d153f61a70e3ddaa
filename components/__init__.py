"""TFX components.  Besides `pipeline/`, the only code that may import tfx or beam."""
