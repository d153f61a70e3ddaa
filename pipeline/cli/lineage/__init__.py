"""`visionline lineage`, one module for each family of questions."""
