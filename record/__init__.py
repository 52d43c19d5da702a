"""Functions that write Storewatch's own tables. Each function runs in the caller's transaction."""
