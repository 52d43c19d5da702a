"""The databases: engines and their dialects, our own tables, and their migrations."""
