"""Training, export and the model artifact: usable without TFX.

Nothing here may import tfx, apache_beam, `components`, `pipeline` or
`serving`.  Each framework lives in a folder of its own (`keras_backend`,
`torch_backend`) behind the contract in `trainers.contract`.
"""

from trainers import telemetry

telemetry.switch_off()
