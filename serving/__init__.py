"""What was pushed, and what answers with it.  Never imports tfx, beam, jax or torch."""
