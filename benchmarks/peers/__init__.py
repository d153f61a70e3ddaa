"""What visionline is held against: the least that does the same work, one program each."""
