"""Which parts of a network's tensors belong to which keypoint.

A head has a row for each keypoint, or several. To start from the weights of a model with other
keypoints, the rows of those that both have are taken, by name. `PoseModel.keypoint_rows` says of
each such tensor which of its dimensions are indexed by keypoints, and what each index stands for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from posebench.skeleton import Skeleton, canonical_name

# What one index stands for: a keypoint's name, and which of its values, ("lefteye", "x"). Names are
# in the form in which keypoints are compared.
Label = tuple[str, ...]
# Dimension of a tensor -> the labels of its indices, each once.
Rows = Mapping[int, Sequence[Label]]


def of_keypoints(skeleton: Skeleton, *values: str) -> list[Label]:
    """Return the labels of rows keypoint by keypoint.

    Args:
        skeleton: the keypoints.
        values: those of each keypoint, in order; none: a row for each keypoint.
    """
    names = [canonical_name(name) for name in skeleton.keypoints]
    if not values:
        return [(name,) for name in names]
    return [(name, value) for name in names for value in values]


def of_limbs(
    skeleton: Skeleton, limbs: Sequence[tuple[int, int]], values: Sequence[tuple[str, int | None]]
) -> list[Label]:
    """Return the labels of rows limb by limb.

    A limb is the same whichever of its ends is written first.

    Args:
        skeleton: the keypoints.
        limbs: indices of both ends.
        values: those of each limb, in order, each with the end that it belongs to (0 or 1; None:
            to both).
    """
    labels = []
    for limb in limbs:
        ends = [canonical_name(skeleton.keypoints[end]) for end in limb]
        for value, end in values:
            labels.append((*sorted(ends), value, "" if end is None else ends[end]))
    return labels


def of_layer(name: str, labels: Sequence[Label], *, dim: int = 0) -> dict[str, Rows]:
    """Return the rows of a layer's weight, in dimension `dim`, and of its bias."""
    return {f"{name}.weight": {dim: labels}, f"{name}.bias": {0: labels}}
