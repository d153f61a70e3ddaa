"""Questions about what is recorded in ML Metadata, and their answers.

A library: it returns dataclasses and prints nothing.  It imports neither TFX nor
TensorFlow, and `ml_metadata` only where it is asked to.

    connection  which store            records   what a store holds, as dataclasses
    store       the reader's interface  sql, api  its two implementations
    graph       who made what, and what was made from it
"""
