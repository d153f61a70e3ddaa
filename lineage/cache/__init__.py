"""Why a component was taken from the cache, or was not."""
