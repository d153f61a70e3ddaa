"""InfraValidator: a blessed model is tried in the real server before it is pushed.

Importing `config` and `report` is light; the rest needs TensorFlow or TFX.
"""
