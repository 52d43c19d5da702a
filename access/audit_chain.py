"""Verifies the hash chain of the audit trail, in which each entry contains the hash of the entry before it.

The caller passes all entries in order, and then the stored head of the chain (the id and hash of the newest entry).
"""

from ask.audit import BEGINNING, ChainHead, Sealed


class Tampered(Exception):
    """Raised if audit entries have been inserted, removed or changed by hand. The message describes the problem."""


def verify_entry(last: ChainHead, entry: Sealed) -> ChainHead:
    """Check an audit entry against `last`, the id and hash of the entry before it. Return the id and hash of `entry`.

    Raise `Tampered` if the hash of `entry` is wrong, or if `entry` does not directly follow the entry in `last`.
    """
    expected = last.entry_id + 1
    if entry.entry_id < expected:
        raise Tampered(f"entry {entry.entry_id} has been added: the first entry is {BEGINNING.entry_id + 1}")
    if entry.entry_id > expected:
        raise Tampered(f"entry {expected} is missing: the next entry is {entry.entry_id}")
    if entry.digest() != entry.hash:
        raise Tampered(f"entry {entry.entry_id} has been changed: its hash does not match its content")
    if entry.previous != last.hash:
        changed = max(last.entry_id, 1)
        raise Tampered(f"entry {changed} has been changed, and its hash too: entry {entry.entry_id} names another hash")
    return entry.head


def verify_head(last: ChainHead, head: ChainHead | None) -> None:
    """Raise `Tampered` if the stored id and hash of the newest audit entry (`head`) are missing or differ from `last`.

    `last` is the id and hash of the newest entry that was read.
    """
    if head is None:
        raise Tampered(f"the head is missing: it should name entry {last.entry_id}")
    if head == last:
        return
    if head.entry_id > last.entry_id:
        raise Tampered(f"entry {last.entry_id + 1} is missing: the head names entry {head.entry_id}")
    if head.entry_id < last.entry_id:
        raise Tampered(f"entry {head.entry_id + 1} has been added: the head names entry {head.entry_id}")
    raise Tampered(
        f"entry {last.entry_id} has been changed, and its hash too, or the head has been changed: their hashes differ"
    )
