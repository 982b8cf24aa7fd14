"""DEKR's fixtures and their skeletons."""

from __future__ import annotations

import json
from typing import Any

import pytest

from posebench.skeleton import COCO, CROWDPOSE, Skeleton
from tests.parity.fixtures import cases


def skeleton_of(num_keypoints: int) -> Skeleton:
    return {17: COCO, 14: CROWDPOSE}[num_keypoints]


def arrays(pattern: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in cases("dekr", pattern)]


def rows(pattern: str) -> list[Any]:
    return [
        pytest.param(row, id=f"{path.stem}-{number}")
        for path in cases("dekr", pattern)
        for number, row in enumerate(json.loads(path.read_text()))
    ]
