"""Everything that visionline writes to ML Metadata and reads from it; imports nothing heavy."""
