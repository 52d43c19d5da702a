"""Measures servers in turns, in the order A B, B A. Other work on the machine then affects all servers equally."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import TypeVar

from bench.child import DidNotKeepUp
from bench.peers import Peer, Target, Turn, Workspace
from bench.report import quotient

Turns = dict[str, list[Turn]]
"""The results of all turns, by server name. A server that did not keep up has an empty list."""
WARM_UP_GAP_MS = 5

Figure = TypeVar("Figure")


def measure(
    workspace: Workspace, peers: Sequence[Peer], clients: int, rooms: int, turns: int, rounds: int, gap_ms: int
) -> Turns:
    """Start the servers, connect clients to each server, and measure pushes in turns.

    If a server does not keep up, report it and stop the server. If this server is required, raise `DidNotKeepUp`.
    """
    with started(workspace, peers, clients, rooms) as targets:
        return {peer.name: [] for peer in peers} | pushes(targets, turns, rounds, gap_ms)


@contextmanager
def started(workspace: Workspace, peers: Sequence[Peer], clients: int, rooms: int) -> Iterator[list[Target]]:
    """Run the servers with connected clients during the block. Yield the servers that keep up."""
    with ExitStack() as running:
        targets = []
        for peer in peers:
            try:
                targets.append(running.enter_context(workspace.target(peer, clients, rooms)))
            except DidNotKeepUp as error:
                give_up(peer, error)
        yield targets


def pushes(targets: Sequence[Target], turns: int, rounds: int, gap_ms: int) -> Turns:
    """Warm up all servers. Then measure pushes of each server to its clients, in turns."""

    def warm_up(target: Target) -> None:
        target.push(target.peer.warm_up, min(gap_ms, WARM_UP_GAP_MS))

    return in_turns(targets, turns, lambda target: target.push(rounds, gap_ms), warm_up)


def in_turns(
    targets: Sequence[Target], turns: int, measure: Callable[[Target], Figure], warm_up: Callable[[Target], object]
) -> dict[str, list[Figure]]:
    """Call `measure` for each server in each turn. Return the results by server name.

    A server that did not keep up has an empty list.
    """
    figures: dict[str, list[Figure]] = {target.peer.name: [] for target in targets}
    running = [target for target in targets if _attempt(target, warm_up)]
    for number in range(turns):
        for target in running[:: -1 if number % 2 else 1]:
            figure = _attempt(target, measure)
            if figure:
                figures[target.peer.name] += figure
            else:
                figures[target.peer.name].clear()
                running.remove(target)
    return figures


def _attempt(target: Target, measure: Callable[[Target], Figure]) -> list[Figure]:
    """Measure the server. Return a list with the result.

    If the server does not keep up, stop it and return an empty list.
    """
    try:
        return [measure(target)]
    except DidNotKeepUp as error:
        give_up(target.peer, error)
        target.stop()
        return []


def give_up(peer: Peer, error: DidNotKeepUp) -> None:
    """Report that a server did not keep up. If the server is required, raise `error` instead."""
    if peer.required:
        raise error
    print(f"bench: {peer.label} did not keep up and is not measured further: {error}", file=sys.stderr)


def middle(turns: Sequence[Turn], figure: Callable[[Turn], float]) -> float | None:
    """Return the median of one figure over all turns, or None if there are no turns."""
    return median(map(figure, turns)) if turns else None


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Divide each figure of one server by the figure of the other server in the same turn. Return the median ratio.

    Return None if no ratio could be computed.
    """
    # A server that did not keep up has no figures.
    pairs = zip(ours, theirs, strict=bool(theirs))
    ratios = [quotient(our_figure, their_figure) for our_figure, their_figure in pairs]
    measured = [value for value in ratios if value is not None]
    return median(measured) if measured else None


def ratio_of(figure: Callable[[Turn], float], ours: Sequence[Turn], theirs: Sequence[Turn]) -> float | None:
    """Return the median ratio of one figure of two servers (see `ratio`). `figure` computes the figure from a turn."""
    return ratio(list(map(figure, ours)), list(map(figure, theirs)))
