"""From new rows to screens."""
