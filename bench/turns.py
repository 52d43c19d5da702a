"""A B B A: everybody is measured in turns, so that what else the machine does meets all alike."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from bench.peers import Target, Turn

Turns = dict[str, list[Turn]]
"""By the peer's name."""
WARM_UP_GAP_MS = 5


def pushes(targets: Sequence[Target], turns: int, rounds: int, gap_ms: int) -> Turns:
    """Push to each target's clients in turns, after its warm-up."""
    for target in targets:
        target.push(target.peer.warm_up, min(gap_ms, WARM_UP_GAP_MS))
    found: Turns = {target.peer.name: [] for target in targets}
    for turn in range(turns):
        for target in targets[:: -1 if turn % 2 else 1]:
            found[target.peer.name].append(target.push(rounds, gap_ms))
    return found


def middle(turns: Iterable[Turn], figure: Callable[[Turn], float]) -> float:
    """Return the median of a figure."""
    return median(map(figure, turns))


def ratio(ours: Sequence[Turn], theirs: Sequence[Turn], figure: Callable[[Turn], float]) -> float:
    """Return the median of the ratios of turns that were next to each other."""
    return median(figure(one) / figure(other) for one, other in zip(ours, theirs, strict=True))
