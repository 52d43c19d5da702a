"""Database engines, dialects, Storewatch's own tables, and their migrations."""
