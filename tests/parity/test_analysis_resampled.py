"""AP of drawn images and AP without each image, against pycocotools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posebench.bench.groups import Group, overlaps
from posebench.data.annotations import read_annotations
from posebench.ground_truth import GroundTruth
from posebench.metrics import read_results
from posebench.metrics.keypoints import match
from posebench.metrics.matching import ALL_AREAS, Detections
from posebench.metrics.resampling import ap_without_each_image, matches, resampled_ap
from posebench.structures import Protocol
from tests.builders import PROTOCOLS
from tests.parity.fixtures import cases, find_in_sets

TOLERANCE = 1e-6
CURVES = cases("analysis", "*/curves_*.json")


def opened(path: Path) -> tuple[GroundTruth, Detections, Protocol]:
    """Return the annotations, detections and protocol that a fixture belongs to."""
    folder, name = path.parent.name, path.stem.partition("_")[2]
    protocol = PROTOCOLS["crowdpose" if folder == "crowdpose" else "coco"]
    place = "eval/coco" if folder == "coco_oracles" else f"analysis/{folder}"
    file = name if name.startswith("pred_") else f"pred_{name}"
    truth = read_annotations(find_in_sets(f"{place}/gt.json"), protocol)
    return truth, read_results(find_in_sets(f"{place}/{file}.json"), truth), protocol


@pytest.mark.parametrize("path", CURVES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_ap_without_an_image(path: Path) -> None:
    given: dict[str, Any] = json.loads(path.read_text())
    truth, detections, protocol = opened(path)
    model = matches(truth, detections, protocol)
    whole = resampled_ap([model], [np.ones((1, truth.num_images))])
    assert whole == pytest.approx([given["ap"]], abs=TOLERANCE)
    without = ap_without_each_image(model)[truth.rank]
    expected = [given["ap_without_image"][str(truth.image_id(i))] for i in range(truth.num_images)]
    assert without == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("path", CURVES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_curves_of_precision(path: Path) -> None:
    given: dict[str, Any] = json.loads(path.read_text())
    model = matches(*opened(path))
    assert model.curves().precision == pytest.approx(
        np.array(given["precision"], float), abs=TOLERANCE
    )


OVERLAPPING = [
    path
    for path in cases("analysis", "*/expected_*.json")
    if "occlusion_crowding" in json.loads(path.read_text())
]


@pytest.mark.parametrize("path", OVERLAPPING, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_boxes_that_overlap_a_person(path: Path) -> None:
    given = json.loads(path.read_text())["occlusion_crowding"]
    truth, detections, protocol = opened(path)
    count = dict(zip(truth.ids, overlaps(truth, given["overlap_iou"]).tolist(), strict=True))
    assert {one: count[one] for one in given["overlaps_of"]} == given["overlaps_of"]
    ignoring = match(truth, detections, protocol).matches(
        [Group("overlap", "all", people=truth.people, area=ALL_AREAS).criterion()]
    )
    assert ignoring[0].people.sum() == truth.people.sum()
