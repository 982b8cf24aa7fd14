"""How an annotation file is read, where the file itself leaves it open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# Of its box, where a person has no annotated area: CrowdPose's rule, as outlines are smaller.
AREA_OF_BOX = 0.53


@dataclass(frozen=True)
class ReadOptions:
    """What `[read]` in a dataset.toml says."""

    # Names or ids of categories that share the keypoints; empty: those with keypoints.
    category: tuple[str | int, ...] = ()
    keypoints_field: str = "keypoints"
    # Names or indices of the file's keypoints to keep, in this order; empty: all.
    select: tuple[str | int, ...] = ()
    visibility: Mapping[int, int] = field(default_factory=dict)  # flags that mean another
    # A share of the box; or annotated where it is above 0, else AREA_OF_BOX ("auto") or refused.
    area: float | Literal["auto", "annotated"] = "auto"
    # The hull of the labelled keypoints ("keypoints"); or as annotated, else the hull ("auto") or
    # refused.
    box: Literal["auto", "annotated", "keypoints"] = "auto"
