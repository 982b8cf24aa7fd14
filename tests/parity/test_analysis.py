"""The error analysis against the published programs' numbers: coco-analyze, TIDE, pycocotools.

Keys are described in the README beside the fixtures. Any folder of `analysis` with such files is
tested; annotations and predictions lie beside them, or in `eval/coco`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from posebench.bench.analysis.costs import Step, alone_steps, progressive_steps
from posebench.bench.analysis.curves import precision_recall
from posebench.bench.analysis.kinds import tide_errors
from posebench.bench.analysis.records import joint_records, keypoint_errors, person_records
from posebench.bench.analysis.scene import Counted, Scene
from posebench.bench.analysis.scores import (
    ScoringError,
    optimal_scores,
    resemblances,
    scoring_errors,
)
from posebench.bench.analysis.taxonomy import PUBLISHED, Correction, Taxonomy, classify
from posebench.bench.analysis.values import ABSENT, CLASSES, DETECTION_KINDS, MISS, QUANTILES
from posebench.bench.groups import groups_of
from posebench.data.annotations import read_annotations
from posebench.metrics import read_results
from posebench.metrics.matching import ALL_AREAS, LARGE, MEDIUM, THRESHOLDS, Floats, Indices, within
from posebench.structures import Protocol
from tests.builders import PROTOCOLS
from tests.parity.fixtures import cases, find_in_sets

TOLERANCE = 1e-6
ROUNDED_TOLERANCE = 2e-6  # of numbers with six decimals

# As meant, but without the nudge that keeps mended poses off the thresholds.
AS_MEANT = Correction(2.0)

AREAS = {"any": ALL_AREAS, "all": (32.0**2, 1e10), "medium": MEDIUM, "large": LARGE}
LETTERS = dict(zip("gjism", range(5), strict=True)) | {".": -1}
NAMES = [f"{oks:.2f}" for oks in THRESHOLDS]
# The published names of what is mended.
STEPS = {name: name for name in ("baseline", "miss", "swap", "inversion", "jitter", "score")} | {
    "background": "bckgd_false_pos",
    "missed": "false_neg",
}

EXPECTED = cases("analysis", "*/expected_*.json")
TIDE = cases("analysis", "*/tide_*.json")
CURVES = cases("analysis", "*/curves_*.json")


def name_of(value: Any) -> str:
    return f"{value.parent.name}-{value.stem}" if isinstance(value, Path) else str(value)


@lru_cache(maxsize=4)
def load(path: Path) -> Any:
    return json.loads(path.read_text())


@lru_cache(maxsize=4)
def read(path: Path) -> tuple[Scene, Protocol]:
    """Return the people and detections that a file of expected numbers is about."""
    predictions = "pred_" + path.stem.partition("_")[2].removeprefix("pred_") + ".json"
    own = path.parent / "gt.json"
    truth_file = own if own.exists() else find_in_sets("eval/coco/gt.json")
    result_file = path.parent / predictions
    if not result_file.exists():
        result_file = find_in_sets(f"eval/coco/{predictions}")
    joints = len(load(truth_file)["annotations"][0]["keypoints"]) // 3
    protocol = PROTOCOLS["crowdpose" if joints == 14 else "coco"]
    truth = read_annotations(truth_file, protocol)
    return Scene(truth, read_results(result_file, truth), protocol), protocol


def ids(scene: Scene, people: Indices) -> list[int]:
    """Return the ids of people of the scene."""
    return [int(scene.truth.ids[row]) for row in scene.person_rows[people].tolist()]


def places(scene: Scene, chosen: Any) -> list[int]:
    """Return the positions in the file of some of the detections."""
    found: list[int] = scene.positions[chosen].tolist()
    return found


def ranges() -> list[tuple[Path, str]]:
    return [(path, name) for path in EXPECTED for name in load(path)["progressive"]["baseline"]]


@pytest.mark.parametrize("path", EXPECTED, ids=name_of)
def test_the_twenty_best_detections_are_used(path: Path) -> None:
    scene, _ = read(path)
    expected = load(path)
    assert len(scene.positions) == expected["detections_used"]
    assert places(scene, slice(None)) == expected["optimal_score"]["det"]


@pytest.mark.parametrize(("path", "name"), ranges(), ids=name_of)
def test_detections_are_localised_and_classified(path: Path, name: str) -> None:
    scene, _ = read(path)
    expected = load(path)["localisation"][name]
    taxonomy = classify(scene, scene.counted(AREAS[name]))
    people = ids(scene, taxonomy.person)
    positions = places(scene, taxonomy.detection)
    if isinstance(expected["matches"], dict):
        assert {str(d): p for d, p in zip(positions, people, strict=True)} == expected["matches"]
    else:
        assert_matches(scene, taxonomy, expected["matches"])
        assert positions == [match["det"] for match in expected["matches"]]
        assert people == [match["gt"] for match in expected["matches"]]
    everybody = np.ones(len(scene.people.area), np.bool_)
    counts = taxonomy.counts(everybody)
    counts[MISS] += counts[ABSENT]  # which the published program does not tell apart
    for code, kind in enumerate(CLASSES[:ABSENT]):
        assert counts[code].tolist() == expected["counts_per_keypoint"][kind], kind
        assert counts[code].sum() == expected["counts"][kind], kind
    others = np.setdiff1d(np.arange(len(scene.positions)), taxonomy.detection)
    assert places(scene, others) == expected["unmatched"]


def assert_matches(scene: Scene, taxonomy: Taxonomy, expected: list[dict[str, Any]]) -> None:
    """Compare classes, and similarities before and after mending."""
    kinds = ("miss", "swap", "inversion", "jitter")
    original = scene.original
    published = taxonomy.mended(original, kinds, PUBLISHED)
    after = taxonomy.similarity_of(published)
    oks_after = mean_of_labelled(after)
    meant = mean_of_labelled(taxonomy.similarity_of(taxonomy.mended(original, kinds, AS_MEANT)))
    only = {
        kind: mean_of_labelled(taxonomy.similarity_of(taxonomy.mended(original, [kind], PUBLISHED)))
        for kind in kinds
    }
    for row, match in enumerate(expected):
        assert taxonomy.oks[row] == pytest.approx(match["oks"], abs=TOLERANCE)
        assert taxonomy.ignored[row] == bool(match["ignored"])
        kind = np.where(taxonomy.kind[row] == ABSENT, MISS, taxonomy.kind[row])
        if "classes" not in match:
            assert (kind == -1).all()
            continue
        assert kind.tolist() == [LETTERS[letter] for letter in match["classes"]]
        stored = np.array(match["ks_after"], np.float64)  # None is nan
        assert_allclose(after[row], stored, rtol=0, atol=ROUNDED_TOLERANCE)
        assert oks_after[row] == pytest.approx(match["oks_after"], abs=TOLERANCE)
        assert meant[row] == pytest.approx(match["oks_after_as_meant"], abs=TOLERANCE)
        for name, values in only.items():
            assert values[row] == pytest.approx(match["oks_after_only"][name], abs=TOLERANCE)


def mean_of_labelled(similarity: Floats) -> Floats:
    """Return the mean of each row without nan; 0 where there is nothing else."""
    mean: Floats = np.nansum(similarity, 1) / np.maximum((~np.isnan(similarity)).sum(1), 1)
    return mean


def assert_steps(
    steps: Iterable[Step], expected: dict[str, Any], name: str, undecided: Iterable[str] = ()
) -> None:
    """Compare AP and highest recall at all thresholds but those that rounding decides."""
    decided = [index for index, oks in enumerate(NAMES) if oks not in undecided]
    compared = set()
    for step in steps:
        ap, recall = step.by_threshold()
        stored = np.array(expected[STEPS[step.kind]][name])
        for ours, theirs in ((ap, stored[:, 0]), (recall, stored[:, 1])):
            assert_allclose(
                ours[decided], theirs[decided], rtol=0, atol=TOLERANCE, err_msg=step.kind
            )
        compared.add(STEPS[step.kind])
    assert compared == expected.keys()


@pytest.mark.parametrize(("path", "name"), ranges(), ids=name_of)
def test_ap_after_each_correction(path: Path, name: str) -> None:
    scene, _ = read(path)
    expected = load(path)
    counted = scene.counted(AREAS[name])
    taxonomy = classify(scene, counted)
    assert_steps(
        progressive_steps(scene, taxonomy, counted, PUBLISHED), expected["progressive"], name
    )
    assert_steps(
        progressive_steps(scene, taxonomy, counted, AS_MEANT),
        expected["progressive_as_meant"],
        name,
        expected["as_meant_undecided"],
    )
    best, optimal = optimal_scores(
        scene, scene.original, counted, resemblances(scene, scene.original)
    )
    scores = expected["optimal_score"][name]
    assert_allclose(best, scores["max_oks"], rtol=0, atol=TOLERANCE)
    assert_allclose(optimal, scores["opt_score"], rtol=0, atol=TOLERANCE)
    steps = alone_steps(scene, taxonomy, counted, PUBLISHED, optimal, published=True)
    assert_steps(steps, expected["alone"], name)


@pytest.mark.parametrize(("path", "name"), ranges(), ids=name_of)
def test_detections_of_nobody_and_people_whom_nobody_found(path: Path, name: str) -> None:
    scene, _ = read(path)
    expected = load(path)["background"][name]
    outcome = scene.outcome(scene.original, scene.counted(AREAS[name]))
    unmatched, lost = outcome.partner < 0, ~outcome.found
    for row, oks in enumerate(NAMES):
        assert unmatched[row].sum() == expected["false_pos_count"][oks]
        assert lost[row].sum() == expected["false_neg_count"][oks]
        if oks in expected["false_pos"]:
            assert places(scene, unmatched[row]) == expected["false_pos"][oks]
            people = ids(scene, np.flatnonzero(lost[row]))
            assert sorted(people) == sorted(expected["false_neg"][oks])
    assert places(scene, unmatched.all(0)) == expected["false_pos_at_all"]
    people = ids(scene, np.flatnonzero(lost.all(0)))
    assert sorted(people) == sorted(expected["false_neg_at_all"])


@pytest.mark.parametrize("path", EXPECTED, ids=name_of)
def test_people_whose_best_pose_is_outranked(path: Path) -> None:
    scene, _ = read(path)
    expected = load(path)["scoring_errors"]
    counted = scene.everybody
    outcome = scene.outcome(scene.original, counted)
    blocks = resemblances(scene, scene.original)
    _, optimal = optimal_scores(scene, scene.original, counted, blocks)
    rescored = replace(outcome, scores=optimal)
    for key, one in (("errors_by_score", outcome), ("errors_by_opt_score", rescored)):
        ours = [row_of(scene, error) for error in scoring_errors(scene, one)]
        stored = sorted(expected[key], key=lambda row: row["gt"])
        assert len(ours) == len(stored)
        for mine, theirs in zip(sorted(ours, key=lambda row: row["gt"]), stored, strict=True):
            assert mine == pytest.approx(theirs, abs=TOLERANCE)
    image = scene.detections.image
    image_ids = sorted(scene.truth.image_id(index) for index in range(scene.num_images))
    by_score = np.lexsort((-scene.detections.scores, image))
    by_optimal = np.lexsort((-scene.detections.scores, -optimal, image))
    assert len(np.unique(image)) == expected["images_with_detections"]
    moved = np.unique(image[by_score][by_score != by_optimal])
    assert [image_ids[index] for index in moved] == expected["images_in_other_order"]


def row_of(scene: Scene, error: ScoringError) -> dict[str, Any]:
    return {
        "gt": ids(scene, np.array([error.person]))[0],
        "det_best_score": places(scene, error.best_scored),
        "det_best_oks": places(scene, error.best_pose),
        "oks_of_best_score": error.oks_scored,
        "oks_best": error.oks_pose,
    }


@pytest.mark.parametrize("path", [path for path in EXPECTED if "size" in load(path)], ids=name_of)
def test_ap_by_size(path: Path) -> None:
    scene, _ = read(path)
    expected = load(path)["size"]
    for size, limits in expected["limits"].items():
        counted = scene.counted(tuple(limits))
        # The published count of people has crowd regions in it.
        people = scene.people
        named = (people.required | people.crowd) & within(people.area, tuple(limits))
        assert named.sum() == expected["people"][size]
        for kind, ap in ap_at_75(scene, counted, alone=True):
            assert ap == pytest.approx(expected["ap75"][kind][size], abs=TOLERANCE), kind


def ap_at_75(scene: Scene, counted: Counted, *, alone: bool) -> list[tuple[str, float]]:
    """Return what was mended, by its published name, and AP at OKS 0.75 after it."""
    taxonomy = classify(scene, counted)
    steps = list(progressive_steps(scene, taxonomy, counted, PUBLISHED))
    if alone:
        blocks = resemblances(scene, scene.original)
        _, optimal = optimal_scores(scene, scene.original, counted, blocks)
        steps[1:] = alone_steps(scene, taxonomy, counted, PUBLISHED, optimal, published=True)
    at = NAMES.index("0.75")
    return [(STEPS[step.kind], float(step.by_threshold()[0][at])) for step in steps]


@pytest.mark.parametrize(
    "path", [path for path in EXPECTED if "occlusion_crowding" in load(path)], ids=name_of
)
def test_ap_by_overlap_and_labelled_keypoints(path: Path) -> None:
    scene, _ = read(path)
    expected = load(path)["occlusion_crowding"]
    records = person_records(scene, scene.outcome(scene.original, scene.everybody))
    names = [int(name) for name in scene.truth.ids]
    overlaps = dict(zip(names, records.overlaps.tolist(), strict=True))
    assert {str(name): count for name, count in overlaps.items()} == expected["overlaps_of"]
    for group in expected["groups"]:
        chosen = np.isin(records.overlaps, group["overlaps"])
        chosen &= np.isin(records.labelled, group["keypoints"])
        counted = scene.counted(AREAS["all"], chosen)
        assert counted.people.sum() == group["people"]
        if not group["people"]:
            continue
        for kind, ap in ap_at_75(scene, counted, alone=False):
            assert ap == pytest.approx(group["ap75"][kind], abs=TOLERANCE), kind
        counts = classify(scene, counted).counts(counted.people).sum(1)
        counts[MISS] += counts[ABSENT]
        assert dict(zip(CLASSES, counts.tolist(), strict=False)) == {
            **group["counts"],
            "absent": counts[ABSENT],
        }


TIDE_NAMES = {
    "Loc": "localisation",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
    "FalsePos": "false_positives",
    "FalseNeg": "false_negatives",
}


@pytest.mark.parametrize("path", TIDE, ids=name_of)
def test_kinds_of_detections_are_those_of_tide(path: Path) -> None:
    scene, _ = read(path)
    for oks, expected in load(path).items():
        found = tide_errors(scene, float(oks))
        assert 100 * found.ap == pytest.approx(expected["ap"], abs=TOLERANCE)
        for kind, gain in expected["dap"].items():
            ours = 100 * found.gains[TIDE_NAMES[kind]] if kind in TIDE_NAMES else 0.0
            assert max(ours, 0.0) == pytest.approx(gain, abs=TOLERANCE), kind
        for kind, gain in expected["dap_special"].items():
            ours = 100 * found.gains[TIDE_NAMES[kind]]
            assert ours == pytest.approx(gain, abs=TOLERANCE), kind
        for kind, count in expected["counts"].items():
            if kind in ("Loc", "Dupe", "Bkg"):
                named = found.kind == DETECTION_KINDS.index(TIDE_NAMES[kind])
                assert places(scene, named) == expected["detections"].get(kind, [])
                assert named.sum() == count
            else:
                assert count == (len(found.missed) if kind == "Miss" else 0)
        assert places(scene, found.ignored) == expected["ignored"]
        lost = {"missed": found.missed, "false_negatives": found.false_negatives}
        for key, people in lost.items():
            assert sorted(int(scene.truth.ids[row]) for row in people) == sorted(expected[key])


@pytest.mark.parametrize("path", CURVES, ids=name_of)
def test_curves_and_distances(path: Path) -> None:
    scene, protocol = read(path)
    expected = load(path)
    outcome = scene.outcome(scene.original, scene.everybody)
    curves = precision_recall(outcome, np.empty((0, scene.num_images), np.int16))
    assert_allclose(curves.precision, expected["precision"], rtol=0, atol=TOLERANCE)
    assert_allclose(curves.score, expected["scores"], rtol=0, atol=TOLERANCE)
    assert curves.precision.mean() == pytest.approx(expected["ap"], abs=TOLERANCE)
    assert_distances(scene, expected["distance"])
    groups = {one.label: one for one in groups_of(scene.truth, protocol) if one.by == "crowding"}
    for tenth in expected.get("crowd_index", []):
        low, high = tenth["from"], tenth["to"]
        label = f"{low:.1f}–{high:.1f}" if high else f"{low} and above"
        group = groups.get(label)
        if group is None or group.images is None:
            assert not tenth["images"]
            continue
        images = np.empty(scene.num_images, np.bool_)
        images[scene.truth.rank] = group.images
        assert images.sum() == tenth["images"]
        ap = outcome.matches().curves(images).ap()
        assert ap == pytest.approx(tenth["ap"], abs=TOLERANCE), label


def assert_distances(scene: Scene, expected: dict[str, Any]) -> None:
    """Compare the quantiles of the distances of each keypoint."""
    assert tuple(expected["quantiles"]) == QUANTILES
    joints = joint_records(scene, classify(scene, scene.everybody), scene.original)
    errors = keypoint_errors(scene, joints)
    pixels: Floats = np.array([one.pixels["all"] for one in errors])
    relative: Floats = np.array([one.relative for one in errors])
    assert [one.count for one in errors] == expected["count"]
    for ours, key in ((pixels, "pixels"), (relative, "pixels_per_sqrt_area")):
        stored = np.array(expected[key], np.float64)
        assert_allclose(ours, stored, rtol=TOLERANCE, atol=TOLERANCE)
