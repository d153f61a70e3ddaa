"""What a user drives: the command line, the config, the one DAG, its runners."""
