"""Measures servers in turns, in the order A B, B A, so that other work on the machine affects all of them equally."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import TypeVar

from bench.child import DidNotKeepUp
from bench.peers import Peer, Target, Turn, Workspace
from bench.report import quotient

Turns = dict[str, list[Turn]]
"""Results of all turns by the name of the server. The list of a server that did not keep up is empty."""
WARM_UP_GAP_MS = 5

Figure = TypeVar("Figure")


def measure(
    workspace: Workspace, peers: Sequence[Peer], clients: int, rooms: int, turns: int, rounds: int, gap_ms: int
) -> Turns:
    """Start the servers, connect clients to each of them, and measure pushes in turns.

    If a server does not keep up, report and stop it. Raise `DidNotKeepUp` if this server is required.
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
    """Warm up all targets, then measure pushes to their clients in turns."""

    def warm_up(target: Target) -> None:
        target.push(target.peer.warm_up, min(gap_ms, WARM_UP_GAP_MS))

    return in_turns(targets, turns, lambda target: target.push(rounds, gap_ms), warm_up)


def in_turns(
    targets: Sequence[Target], turns: int, measure: Callable[[Target], Figure], warm_up: Callable[[Target], object]
) -> dict[str, list[Figure]]:
    """Call `measure` for each target in each turn. Return the figures by the name of the server.

    The list of a server that did not keep up is empty.
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
    """Measure the target. Return the figure in a list. If the target does not keep up, stop it and return no figure."""
    try:
        return [measure(target)]
    except DidNotKeepUp as error:
        give_up(target.peer, error)
        target.stop()
        return []


def give_up(peer: Peer, error: DidNotKeepUp) -> None:
    """Report that a server did not keep up. Raise the error if the server is required."""
    if peer.required:
        raise error
    print(f"bench: {peer.label} did not keep up and is not measured further: {error}", file=sys.stderr)


def middle(turns: Sequence[Turn], figure: Callable[[Turn], float]) -> float | None:
    """Return the median of a figure of the turns, or None if there are no turns."""
    return median(map(figure, turns)) if turns else None


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Divide the figures of one server by those of another, turn by turn. Return the median, or None without ratios."""
    # A server that did not keep up has no figures.
    pairs = zip(ours, theirs, strict=bool(theirs))
    ratios = [quotient(our_figure, their_figure) for our_figure, their_figure in pairs]
    measured = [value for value in ratios if value is not None]
    return median(measured) if measured else None


def ratio_of(figure: Callable[[Turn], float], ours: Sequence[Turn], theirs: Sequence[Turn]) -> float | None:
    """Return the `ratio` of the same figure in the turns of two servers."""
    return ratio(list(map(figure, ours)), list(map(figure, theirs)))
