"""What a pushed model is: its artifact, its versions, and what answers with it."""
