"""Verifies the audit trail's hash chain. Pure: the caller passes the entries in order, and the head at the end."""

from ask.audit import BEGINNING, ChainHead, Sealed


class Tampered(Exception):
    """The entries are not what was written; the message names the first entry at which that shows."""


def verify_entry(last: ChainHead, entry: Sealed) -> ChainHead:
    """Return the chain's new last entry, after `entry`, which must continue `last`; raises `Tampered`."""
    expected = last.entry_id + 1
    if entry.entry_id < expected:
        raise Tampered(f"entry {entry.entry_id} has been added: the first one is {BEGINNING.entry_id + 1}")
    if entry.entry_id > expected:
        raise Tampered(f"entry {expected} is missing: after it comes {entry.entry_id}")
    if entry.digest() != entry.hash:
        raise Tampered(f"entry {entry.entry_id} has been changed: its hash is of something else")
    if entry.previous != last.hash:
        changed = max(last.entry_id, 1)
        raise Tampered(f"entry {changed} has been changed, with its hash: entry {entry.entry_id} follows another")
    return entry.head


def verify_head(last: ChainHead, head: ChainHead | None) -> None:
    """Compare the last entry with the stored head of the chain; raises `Tampered`."""
    if head is None:
        raise Tampered(f"the head is missing, which follows entry {last.entry_id}")
    if head == last:
        return
    if head.entry_id > last.entry_id:
        raise Tampered(f"entry {last.entry_id + 1} is missing: the head tells of {head.entry_id}")
    if head.entry_id < last.entry_id:
        raise Tampered(f"entry {head.entry_id + 1} has been added: the head knows nothing of it")
    raise Tampered(f"entry {last.entry_id} has been changed, with its hash, or the head was: the head follows another")
