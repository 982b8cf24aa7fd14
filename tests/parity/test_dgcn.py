"""DGCN's adjacency matrices against the stored ones: mean distances of real people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posebench.data.annotations import read_annotations
from posebench.data.statistics import measure_keypoints
from posebench.ground_truth import join
from posebench.models.dgcn.adjacency import soft_adjacency
from posebench.skeleton import SKELETONS
from tests.builders import PROTOCOLS
from tests.parity.fixtures import cases

# Stored with eight decimals; A_s is in float32 here.
DISTANCE_TOLERANCE = 1e-8
ADJACENCY_TOLERANCE = 5e-8
# From distances that are rounded to eight decimals: gamma over the square of a distance of 0.07
# makes a hundredfold of their error.
ROUNDED_TOLERANCE = 5e-7

# The annotations that the README names, below the folder of real data.
ANNOTATIONS = {
    "coco": "coco/annotations/person_keypoints_*2017.json",
    "crowdpose": "crowdpose/annotations/crowdpose_val.json",
}
STORED = [
    pytest.param(name, content, id=name)
    for path in cases("pifpaf", "dgcn_adjacency.json")
    for name, content in json.loads(path.read_text()).items()
    if name in SKELETONS
]


@pytest.mark.parametrize(("name", "stored"), STORED)
def test_soft_adjacency(name: str, stored: dict[str, Any]) -> None:
    mean = np.array(stored["mean_normalised_distance_M_d"])
    assert stored["keypoints"] == list(SKELETONS[name].keypoints)
    np.testing.assert_allclose(
        soft_adjacency(mean, stored["gamma"]),
        stored["soft_adjacency_A_s"],
        rtol=0,
        atol=ROUNDED_TOLERANCE,
    )


@pytest.mark.parametrize(("name", "stored"), [p for p in STORED if p.values[0] in ANNOTATIONS])
def test_distances_of_real_people(shared_data: Path, name: str, stored: dict[str, Any]) -> None:
    files = sorted(shared_data.glob(ANNOTATIONS[name]))
    truth = join([read_annotations(path, PROTOCOLS[name]) for path in files])
    found = measure_keypoints(truth)
    assert found.people == stored["persons_used"]
    np.testing.assert_array_equal(found.pairs, stored["pair_counts"])
    np.testing.assert_allclose(
        found.distances, stored["mean_normalised_distance_M_d"], rtol=0, atol=DISTANCE_TOLERANCE
    )
    np.testing.assert_allclose(
        soft_adjacency(found.distances, stored["gamma"]),
        stored["soft_adjacency_A_s"],
        rtol=0,
        atol=ADJACENCY_TOLERANCE,
    )
