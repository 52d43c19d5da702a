"""Imports readings from files into Storewatch's own tables, never into a site's tables."""
