"""Shared state of this process: `clients` maps each connection (sid) to the storehouse that it watches.

The value is None if a connection watches no storehouse. Use `clients` only in the event loop's thread.
"""

from collections.abc import Iterator, MutableMapping


class Clients(MutableMapping[str, int | str | None]):
    """A mapping from each connection to the storehouse that it watches, with an index from storehouses to connections.

    The index lets a push find its recipients without a search through all connections.
    """

    def __init__(self) -> None:
        self._watched: dict[str, int | str | None] = {}
        self._watchers: dict[int | str, dict[str, None]] = {}
        self._told: dict[int | str, tuple[str, ...]] = {}  # cached results of `watchers`, removed when outdated

    def watchers(self, store_house_id: int | str) -> tuple[str, ...]:
        """Return the connections that watch this storehouse, in the order in which they started to watch it.

        Return the same tuple object until the set of connections changes.
        """
        told = self._told.get(store_house_id)
        if told is None and store_house_id in self._watchers:
            told = self._told[store_house_id] = tuple(self._watchers[store_house_id])
        return told or ()

    def watched(self) -> set[int | str]:
        """Return the storehouses that at least one connection watches."""
        return set(self._watchers)

    def __getitem__(self, sid: str) -> int | str | None:
        return self._watched[sid]

    def __setitem__(self, sid: str, store_house_id: int | str | None) -> None:
        self._leave(sid)
        self._watched[sid] = store_house_id
        if store_house_id is not None:
            self._watchers.setdefault(store_house_id, {})[sid] = None
            self._told.pop(store_house_id, None)

    def __delitem__(self, sid: str) -> None:
        self._leave(sid)
        del self._watched[sid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._watched)

    def __len__(self) -> int:
        return len(self._watched)

    def _leave(self, sid: str) -> None:
        store_house_id = self._watched.get(sid)
        if store_house_id is not None:
            watchers = self._watchers[store_house_id]
            del watchers[sid]
            self._told.pop(store_house_id, None)
            if not watchers:
                del self._watchers[store_house_id]


clients = Clients()
