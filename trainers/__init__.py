"""Training and export: usable without TFX.

Nothing here may import tfx, apache_beam, `components`, `lineage`, `pipeline` or
`serving`.  Each framework lives in a folder of its own (`keras_backend`,
`torch_backend`) behind the contract in `trainers.contract`.
"""
