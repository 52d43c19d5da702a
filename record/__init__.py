"""What we write into a database whose tables are ours. Every function works in the caller's transaction."""
