"""Who made what of what: references, facts, pushes and versions, found in a store."""
