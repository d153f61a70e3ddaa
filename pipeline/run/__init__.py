"""One run of the pipeline: started, watched, ended and told about."""
