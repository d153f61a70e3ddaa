"""BulkInferrer: a model's scores of the evaluation split, made once for all that judge by them."""
