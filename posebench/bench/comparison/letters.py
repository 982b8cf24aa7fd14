"""Letters beside models: those that share one cannot be told apart."""

from __future__ import annotations

from collections.abc import Sequence

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def letter_groups(order: Sequence[str], different: set[tuple[str, str]]) -> dict[str, str]:
    """Return letters such that two models share one exactly if they do not differ.

    Args:
        order: the models, best first; "a" goes to the best.
        different: pairs of models that differ, in this order.

    Source: Piepho (2004), insert and absorb.
    """
    groups = [set(order)]
    for first, second in sorted(different, key=lambda pair: tuple(map(order.index, pair))):
        split = [group for group in groups if {first, second} <= group]
        groups = [group for group in groups if group not in split]
        for group in split:
            groups += [group - {first}, group - {second}]
        groups = [
            group
            for position, group in enumerate(groups)
            if not any(
                group < other or (group == other and position > earlier)
                for earlier, other in enumerate(groups)
            )
        ]
    groups.sort(key=lambda group: sorted(map(order.index, group)))
    return {
        name: "".join(_letter(i) for i, group in enumerate(groups) if name in group)
        for name in order
    }


def _letter(index: int) -> str:
    """Return a, b ... z, and then capital letters; further groups share the last."""
    return (_LETTERS + _LETTERS.upper())[min(index, 2 * len(_LETTERS) - 1)]
