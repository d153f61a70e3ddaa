"""The Keras backend, on TensorFlow (see trainers.contract.Backend)."""
