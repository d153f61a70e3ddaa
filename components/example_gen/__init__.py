"""ImageExampleGen: from labelled images on disk to TFX Examples.

Importing this package is light; only `ingest`, `driver`, `executor` and
`component` need Beam or TFX.
"""
