"""Evaluation against the official tools' numbers, case by case of the fixture folder."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from posebench.data.annotations import read_annotations
from posebench.errors import DataError
from posebench.layers.oks import oks
from posebench.metrics import (
    evaluate_keypoints,
    evaluate_pckh,
    read_results,
)
from posebench.metrics.keypoints import match
from posebench.metrics.matching import THRESHOLDS
from posebench.metrics.pckh import mpii_people, pckh
from posebench.metrics.results import parse_results
from posebench.skeleton import MPII
from posebench.structures import Protocol
from tests.builders import PROTOCOLS
from tests.metrics.official import coco_metrics
from tests.parity.fixtures import cases, parity_folder

TOLERANCE = 1e-6

# The official CrowdPose tool rounds these itself, to 4 decimals.
ROUNDED = {"AP_easy": "APE", "AP_medium": "APM", "AP_hard": "APH"}
ROUNDED_TOLERANCE = 1e-4

OFFICIAL = {"coco": "pycocotools", "ochuman": "pycocotools", "crowdpose": "crowdposetools"}

# The tool that gives the right outcome where the official one does not.
CAREFUL = "xtcocotools"

CROWDING_SPLITS = {
    "split_0.2_0.8_as_in_tool": (0.2, 0.8),
    "split_0.1_0.8_as_in_paper_text": (0.1, 0.8),
}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def name_of(path: Path) -> str:
    folder = parity_folder("eval")
    return str(path.relative_to(folder)) if folder else path.name


PREDICTIONS = [path for name in OFFICIAL for path in cases("eval", f"{name}/pred_*.json")]
EDGES = [path for name in OFFICIAL for path in cases("eval", f"edge/{name}/*/pred.json")]
PCKH_CASES = cases("eval", "mpii_pckh/*/expected.json")
OKS_CASES = cases("eval", "*/oks_pred_*.json")


def evaluate(predictions: Path, protocol: Protocol) -> dict[str, float]:
    """Return our metrics for a prediction file, both files read as a user's are."""
    ground_truth = read_annotations(predictions.parent / "gt.json", protocol)
    results = read_results(predictions, ground_truth)
    return evaluate_keypoints(ground_truth, results, protocol)


def assert_metrics(predictions: Path, protocol: Protocol, expected: dict[str, Any]) -> None:
    """Compare every number of `expected` with ours."""
    metrics = evaluate(predictions, protocol)
    named = {name: value for name, value in expected.items() if isinstance(value, float)}
    for name, value in named.items():
        tolerance = ROUNDED_TOLERANCE if name in ROUNDED else TOLERANCE
        assert metrics[ROUNDED.get(name, name)] == pytest.approx(value, abs=tolerance), name
    assert named.keys() >= {"AP", "AP50", "AP75", "AR"}

    for split, degrees in expected.get("AP_by_crowdIndex_unrounded", {}).items():
        crowding = CROWDING_SPLITS[split]
        metrics = evaluate(predictions, replace(protocol, crowd_index=crowding))
        for degree, found in degrees.items():
            value = -1.0 if found["AP"] is None else found["AP"]
            assert metrics[ROUNDED[f"AP_{degree}"]] == pytest.approx(value, abs=TOLERANCE), split

    ground_truth = read_annotations(predictions.parent / "gt.json", protocol)
    detections = parse_results(load(predictions), ground_truth)
    [matches] = match(ground_truth, detections, protocol).matches()
    curves = matches.curves()
    for key, ours in (("AP", curves.ap), ("AR", curves.ar)):
        if per_threshold := expected.get(f"{key}_per_oks_threshold"):
            values = [ours(threshold) for threshold in THRESHOLDS]
            assert values == pytest.approx(per_threshold, abs=TOLERANCE), key


@pytest.mark.parametrize("predictions", PREDICTIONS, ids=name_of)
def test_metrics_equal_the_official_tools(predictions: Path) -> None:
    expected = load(predictions.parent / "expected.json")[predictions.name]
    assert_metrics(predictions, PROTOCOLS[predictions.parent.name], expected)


def right_outcome(predictions: Path, protocol: Protocol) -> dict[str, Any] | type[Exception]:
    """Return what an edge case should give: numbers, or DataError.

    The rules are those of docs/evaluation.md, so that further cases need no change here.
    """
    case, kind = predictions.parent, predictions.parents[1].name
    given = load(case.parent / "expected.json")[case.name]
    official = given[OFFICIAL[kind]]
    careful = official if given.get(CAREFUL, "same") == "same" else given[CAREFUL]
    ground_truth, results = load(case / "gt.json"), load(predictions)

    if has_non_finite(ground_truth["annotations"]) or has_non_finite(results):
        return DataError
    people = ground_truth["annotations"]
    if kind != "crowdpose" and any("area" not in person for person in people):
        shared = [{**a, "area": 0.53 * a["bbox"][2] * a["bbox"][3]} for a in people]
        return coco_metrics({**ground_truth, "annotations": shared}, results, protocol)
    if kind == "crowdpose" and any("crowdIndex" not in image for image in ground_truth["images"]):
        overall = coco_metrics(ground_truth, results, protocol)
        known = {name: overall[name] for name in ("AP", "AP50", "AP75", "AR")}
        return known | {"AP_easy": -1.0, "AP_medium": -1.0, "AP_hard": -1.0}
    if "error" not in official:
        # The tools take the match with annotation 0 for no match.
        has_zero = any(annotation["id"] == 0 for annotation in ground_truth["annotations"])
        return careful if has_zero else official
    if not results:
        return given.get("pycocotools_with_empty_result_object", careful)
    if "error" not in careful:
        return careful
    if results[0].get("bbox") and any("bbox" not in result for result in results):
        filled = [result if "bbox" in result else result | extent(result) for result in results]
        return coco_metrics(ground_truth, filled, protocol)
    return DataError


def has_non_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return has_non_finite(list(value.values()))
    if isinstance(value, list):
        return any(has_non_finite(part) for part in value)
    return isinstance(value, float) and not math.isfinite(value)


def extent(result: dict[str, Any]) -> dict[str, Any]:
    x, y = result["keypoints"][0::3], result["keypoints"][1::3]
    return {"bbox": [min(x), min(y), max(x) - min(x), max(y) - min(y)]}


@pytest.mark.parametrize("predictions", EDGES, ids=name_of)
def test_edge_cases_have_the_right_outcome(predictions: Path) -> None:
    protocol = PROTOCOLS[predictions.parents[1].name]
    expected = right_outcome(predictions, protocol)
    if isinstance(expected, dict):
        assert_metrics(predictions, protocol, expected)
    else:
        with pytest.raises(expected):
            evaluate(predictions, protocol)


@pytest.mark.parametrize("matrices", OKS_CASES, ids=name_of)
def test_oks_equals_the_official_matrices(matrices: Path) -> None:
    protocol = PROTOCOLS[matrices.parent.name]
    ground_truth = load(matrices.parent / "gt.json")
    annotations = {annotation["id"]: annotation for annotation in ground_truth["annotations"]}
    predictions = load(matrices.with_name(matrices.name.removeprefix("oks_")))

    def poses(items: list[dict[str, Any]]) -> torch.Tensor:
        rows = [item["keypoints"] for item in items]
        return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), -1, 3)

    compared = 0
    for image in load(matrices):
        people = [annotations[identity] for identity in image["gt_ann_ids"]]
        predicted = poses([predictions[index] for index in image["pred_indices"]])
        annotated = poses(people)
        ours = oks(
            predicted[..., :2],
            annotated[..., :2],
            annotated[..., 2],
            torch.tensor([person["area"] for person in people], dtype=torch.float64),
            torch.tensor(protocol.skeleton.sigmas, dtype=torch.float64),
        )
        # Without labelled keypoints the tool compares with the box; `oks` itself gives 0.
        labelled = (annotated[..., 2] > 0).any(1).numpy()
        expected = np.array(image["oks"])[:, labelled]
        np.testing.assert_allclose(ours.numpy()[:, labelled], expected, rtol=0, atol=TOLERANCE)
        compared += expected.size
    assert compared > 0


@pytest.mark.parametrize("expected_file", PCKH_CASES, ids=name_of)
def test_pckh_equals_the_official_rule(expected_file: Path) -> None:
    case = expected_file.parent
    expected = load(expected_file)
    ground_truth = read_annotations(case / "gt.json", PROTOCOLS["mpii"])
    people, head_sizes = mpii_people(ground_truth)

    heads = np.atleast_1d(expected.get("head_size_of_first_five", expected.get("head_size", [])))
    np.testing.assert_allclose(head_sizes[: len(heads)], heads, rtol=0, atol=TOLERANCE)
    if official := expected.get("less_or_equal (official rule)"):
        metrics = evaluate_pckh(ground_truth, load(case / "pred.json"))
        assert metrics["PCKh@0.5"] == pytest.approx(official["mean"], abs=TOLERANCE)
        for joint, correct in official["correct_per_joint"].items():
            # One person: a keypoint is found or not, or not labelled.
            ours = metrics[f"PCKh@0.5/{joint}"]
            assert ours == (-1.0 if correct is None else 100.0 * correct), joint

    for name in (key for key in expected if key.startswith("PCKh@")):
        threshold = float(name.removeprefix("PCKh@"))
        if (case / "pred_aligned.json").exists():
            predicted = np.array(load(case / "pred_aligned.json"))
            counts = pckh(predicted, people[..., :2], people[..., 2], head_sizes, threshold)
            metrics = {f"{name}/{part}": value for part, value in counts.metrics().items()}
            metrics[name] = metrics.pop(f"{name}/mean")
            counted = dict(zip(MPII.keypoints, counts.counted.tolist(), strict=True))
            assert counted == expected[name]["count_per_joint"]
        else:
            results = read_results(case / "pred.json", ground_truth)
            metrics = evaluate_pckh(ground_truth, results, threshold)
        assert metrics[name] == pytest.approx(expected[name]["mean"], abs=TOLERANCE)
        for part, value in (expected[name]["per_joint"] | expected[name]["groups"]).items():
            assert metrics[f"{name}/{part}"] == pytest.approx(value, abs=TOLERANCE), part
