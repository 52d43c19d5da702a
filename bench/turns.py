"""A B B A: all peers are measured in turns, so that other work of the machine affects them alike."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import TypeVar

from bench.child import DidNotKeepUp
from bench.peers import Peer, Target, Turn, Workspace
from bench.report import quotient

Turns = dict[str, list[Turn]]
"""By the peer's name; an empty list for a peer that did not keep up."""
WARM_UP_GAP_MS = 5

Figure = TypeVar("Figure")


def measure(
    workspace: Workspace, peers: Sequence[Peer], clients: int, rooms: int, turns: int, rounds: int, gap_ms: int
) -> Turns:
    """Start these peers, connect the clients to each, and push to them in turns.

    A peer that does not keep up is reported and stopped; raises DidNotKeepUp where it is one that is required.
    """
    with started(workspace, peers, clients, rooms) as targets:
        return {peer.name: [] for peer in peers} | pushes(targets, turns, rounds, gap_ms)


@contextmanager
def started(workspace: Workspace, peers: Sequence[Peer], clients: int, rooms: int) -> Iterator[list[Target]]:
    """Start these peers and connect the clients, for the length of a block; without those that do not keep up."""
    with ExitStack() as running:
        targets = []
        for peer in peers:
            try:
                targets.append(running.enter_context(workspace.target(peer, clients, rooms)))
            except DidNotKeepUp as error:
                give_up(peer, error)
        yield targets


def pushes(targets: Sequence[Target], turns: int, rounds: int, gap_ms: int) -> Turns:
    """Push to each target's clients in turns, after its warm-up."""

    def warm_up(target: Target) -> None:
        target.push(target.peer.warm_up, min(gap_ms, WARM_UP_GAP_MS))

    return in_turns(targets, turns, lambda target: target.push(rounds, gap_ms), warm_up)


def in_turns(
    targets: Sequence[Target], turns: int, measure: Callable[[Target], Figure], warm_up: Callable[[Target], object]
) -> dict[str, list[Figure]]:
    """Return the figures of each target, by its peer's name: none of a peer that did not keep up."""
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
    """Return the figure, alone in a list, and no figure where the target did not keep up."""
    try:
        return [measure(target)]
    except DidNotKeepUp as error:
        give_up(target.peer, error)
        target.stop()
        return []


def give_up(peer: Peer, error: DidNotKeepUp) -> None:
    """Report that a peer did not keep up; raises the error where the peer is required."""
    if peer.required:
        raise error
    print(f"bench: {peer.label} did not keep up and is measured no more: {error}", file=sys.stderr)


def middle(turns: Sequence[Turn], figure: Callable[[Turn], float]) -> float | None:
    """Return the median of a figure, None without turns."""
    return median(map(figure, turns)) if turns else None


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Return the median of the ratios of figures that were measured next to each other, None where there are none."""
    # A peer that did not keep up has no figures to compare with.
    pairs = zip(ours, theirs, strict=bool(theirs))
    ratios = [quotient(our_figure, their_figure) for our_figure, their_figure in pairs]
    measured = [value for value in ratios if value is not None]
    return median(measured) if measured else None


def ratio_of(figure: Callable[[Turn], float], ours: Sequence[Turn], theirs: Sequence[Turn]) -> float | None:
    """Return the `ratio` of a figure of turns."""
    return ratio(list(map(figure, ours)), list(map(figure, theirs)))
