"""Verifies the hash chain of the audit trail. The caller passes all entries in order, and then the stored head."""

from ask.audit import BEGINNING, ChainHead, Sealed


class Tampered(Exception):
    """Audit entries were changed after they were written. The message names the first wrong entry."""


def verify_entry(last: ChainHead, entry: Sealed) -> ChainHead:
    """Check that `entry` follows the head `last`, and return the new head. Raise `Tampered` if it does not."""
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
    """Raise `Tampered` if the last entry does not match the stored head of the chain."""
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
