"""Small helpers for every layer. They use no database and no network."""
