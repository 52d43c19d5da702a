"""What this process knows and shares: `clients`, which connection (sid) watches which storehouse.

A connection that watches nothing stands here with None. Only the event loop's thread may touch it.
"""

clients: dict[str, int | str | None] = {}
