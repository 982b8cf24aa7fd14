"""The whole analysis, on drawn crowds and on files that nothing is in."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from posebench.bench.analysis import ALONE_KINDS, CLASSES, KINDS, Analysis, analyze, intervals
from posebench.errors import UsageError
from posebench.ground_truth import GroundTruth
from posebench.metrics import evaluate_keypoints
from posebench.metrics.matching import Detections
from posebench.structures import Protocol
from tests.bench.analysis.scenes import (
    SKELETON,
    at,
    detections_of,
    offset,
    random_scene,
    truth_of_people,
)

PROTOCOL = Protocol(SKELETON)


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyze(*given(0), draws=200)


def given(seed: int) -> tuple[Detections, GroundTruth, Protocol]:
    truth, detections, protocol = random_scene(seed)
    return detections, truth, protocol


@pytest.mark.parametrize("corrections", ["meant", "published"])
@pytest.mark.parametrize("seed", range(3))
def test_costs_add_up_from_the_official_ap(seed: int, corrections: str) -> None:
    detections, truth, protocol = given(seed)
    found = analyze(detections, truth, protocol, corrections=corrections, draws=0)  # type: ignore[arg-type]
    ap = evaluate_keypoints(truth, detections, protocol)["AP"]
    assert found.ap.value == ap
    progressive = [one for one in found.costs if one.mode == "progressive"]
    assert [one.kind for one in progressive] == list(KINDS)
    assert ap + sum(one.cost.value for one in progressive) == pytest.approx(1)
    assert progressive[-1].ap_after == 1
    alone = [one for one in found.costs if one.mode == "alone"]
    assert [one.kind for one in alone] == [*KINDS, *ALONE_KINDS]
    for one in alone:
        assert one.ap_after == pytest.approx(ap + one.cost.value)
    assert np.isnan(found.ap.low)
    assert all(one.samples is None for one in found.costs)


def test_people_left_out_alone_keep_the_false_positives() -> None:
    meant = analyze(*given(1), draws=0)
    published = analyze(*given(1), corrections="published", draws=0)
    assert published.cost("missed").ap_after == 1
    assert meant.ap.value < meant.cost("missed").ap_after < 1


def test_published_corrections_gain_at_least_as_much() -> None:
    for seed in range(4):
        meant, published = (
            analyze(*given(seed), corrections=one, draws=0) for one in ("meant", "published")
        )
        assert published.cost("miss").ap_after >= meant.cost("miss").ap_after


def test_a_perfect_file_loses_nothing() -> None:
    truth, _, protocol = random_scene(0)
    people = np.flatnonzero(truth.people)
    found = detections_of(
        [(int(truth.rank[truth.image[p]]), 0.9, truth.keypoints[p, :, :2]) for p in people]
    )
    perfect = analyze(found, truth, protocol, draws=50)
    assert perfect.ap.value == perfect.ap.low == 1
    assert {one.cost.value for one in perfect.costs} == {0.0}
    assert {one.count for one in perfect.costs} == {0}
    assert perfect.class_counts["good"] == len(perfect.joints)
    assert (perfect.people.found_at[~perfect.people.ignored] == 0.95).all()


def test_intervals_hold_their_values_and_depend_on_the_seed_alone(analysis: Analysis) -> None:
    again = analyze(*given(0), draws=200)
    other = analyze(*given(0), draws=200, seed=1)
    for one, same, another in zip(analysis.costs, again.costs, other.costs, strict=True):
        assert one.cost == same.cost
        assert one.cost.value == another.cost.value
        assert one.cost.low <= one.cost.value <= one.cost.high or one.kind == "missed"
        assert one.samples is not None
        assert one.samples.shape == (200,)
    assert analysis.ap.low < analysis.ap.value < analysis.ap.high
    assert analysis.ap != other.ap


def test_a_resample_is_the_analysis_of_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resample in which some images occur once equals a file of these images."""
    detections, truth, protocol = given(2)
    chosen = np.arange(truth.num_images) % 3 != 0  # by rank of the id
    rows = [int(np.flatnonzero(truth.rank == rank)[0]) for rank in np.flatnonzero(chosen)]
    place = np.cumsum(chosen) - 1
    kept = detections[np.flatnonzero(chosen[detections.image])]
    part = analyze(
        replace(kept, image=place[kept.image]), truth.select_images(rows), protocol, draws=0
    )
    weights = np.stack([chosen, chosen]).astype(np.int16)
    monkeypatch.setattr(intervals, "image_resamples", lambda *_: (None, weights))
    whole = analyze(detections, truth, protocol, draws=2)
    for one, own in zip(whole.costs, part.costs, strict=True):
        assert one.samples is not None
        if one.kind != "missed":  # thresholds at which nobody is found count differently
            assert one.samples[0] == pytest.approx(own.cost.value, abs=1e-12), one.kind


def test_records_refer_to_the_files(analysis: Analysis) -> None:
    detections, truth, _ = given(0)
    rows = analysis.detections
    assert np.array_equal(truth.rank[rows.image], detections.image[rows.position])
    assert np.array_equal(rows.score, detections.scores[rows.position])
    named = rows.person >= 0
    assert np.array_equal(truth.image[rows.person[named]], rows.image[named])
    joints = analysis.joints
    assert np.array_equal(rows.person[joints.detection], joints.person)
    own = truth.keypoints[joints.person, joints.keypoint]
    found = detections.keypoints[rows.position[joints.detection], joints.keypoint]
    assert joints.pixels == pytest.approx(np.hypot(*(found - own[:, :2]).T))
    assert (own[:, 2] > 0).all()
    good = joints.kind == CLASSES.index("good")
    assert np.array_equal(joints.at_person[good], joints.person[good])
    assert np.array_equal(joints.at_keypoint[good], joints.keypoint[good])
    assert (joints.similarity_after >= joints.similarity - 1e-9)[~good].all()
    assert analysis.num_people == (~analysis.people.ignored).sum() == truth.people.sum()
    for keypoint in analysis.keypoints:
        index = analysis.keypoint_names.index(keypoint.keypoint)
        assert keypoint.count == (joints.keypoint == index).sum()


def test_tables_have_a_row_for_each_record(analysis: Analysis) -> None:
    tables = analysis.tables()
    assert len(tables["errors"]) == len(analysis.costs)
    assert len(tables["joints"]) == len(analysis.joints)
    assert len(tables["detections"]) == len(analysis.detections)
    assert len(tables["people"]) == len(analysis.people)
    assert len(tables["curves"]) == 10 * 101
    assert set(tables["joints"]["class"].dropna()) <= set(CLASSES)
    assert tables["joints"]["at_person_id"].isna().sum() == (analysis.joints.at_person < 0).sum()
    costs = [100 * one.cost.value for one in analysis.costs]
    assert tables["errors"]["cost"].tolist() == costs
    assert set(tables["groups"]["by"]) == {"size", "crowding", "overlap", "labelled", "truncation"}


def test_truncated_people_touch_the_border() -> None:
    truth = truth_of_people([(0, at(0, 300)), (0, at(300, 300)), (0, at(899, 300))])
    found = analyze(detections_of([(0, 0.9, at(0, 300))]), truth, PROTOCOL, draws=0)
    assert found.people.truncated.tolist() == [True, False, True]
    parts = {one.group: one for one in found.groups if one.by == "truncation"}
    assert (parts["at the border"].people, parts["inside"].people) == (2, 1)
    assert parts["inside"].ap.value == 0
    unknown = truth_of_people([(0, at(0, 300))], sizes=(0, 0))
    found = analyze(detections_of([]), unknown, PROTOCOL, draws=0)
    assert not [one for one in found.groups if one.by == "truncation"]


@pytest.mark.parametrize("draws", [0, 20])
def test_nothing_to_find_or_nothing_found(draws: int) -> None:
    some = [(0, at(200, 200)), (1, at(200, 200))]
    found = [(0, 0.9, at(200, 200)), (2, 0.4, at(0, 0))]
    nobody = analyze(detections_of([]), truth_of_people(some), PROTOCOL, draws=draws)
    assert nobody.ap.value == 0
    assert nobody.cost("missed", "progressive").ap_after == 1
    nowhere = analyze(detections_of(found), truth_of_people([]), PROTOCOL, draws=draws)
    assert nowhere.ap.value == -1
    assert nowhere.detections.kind_50.tolist() == [3, 3]
    crowds = truth_of_people(some, crowd=[True, True])
    ignored = analyze(detections_of(found), crowds, PROTOCOL, draws=draws)
    assert ignored.num_people == len(ignored.joints) == 0
    for one in (nobody, nowhere, ignored):
        assert set(one.tables()) >= {"errors", "joints", "detections", "people"}


def test_suppression_is_the_file_without_the_removed() -> None:
    pose = at(200, 200)
    near = pose + np.array([offset(0.9, 1), 0])
    truth = truth_of_people([(0, pose), (1, pose)])
    found = [(0, 0.9, near), (0, 0.8, near), (1, 0.7, pose)]
    analysis = analyze(detections_of(found), truth, PROTOCOL, draws=0)
    without = evaluate_keypoints(truth, detections_of([found[0], found[2]]), PROTOCOL)["AP"]
    for one in analysis.suppression:
        assert (one.removed, one.removed_true) == (1, 0)
        assert one.ap == without
        assert one.gain.value == without - analysis.ap.value > 0


def test_any_number_of_keypoints_without_sides() -> None:
    one = replace(SKELETON, name="dot", keypoints=("dot",), sigmas=(0.05,), pairs=None)
    truth = truth_of_people([(0, np.array([[100.0, 100.0]]))], skeleton=one)
    found = detections_of([(0, 0.9, np.array([[101.0, 100.0]]))], size=1)
    analysis = analyze(found, truth, Protocol(one), draws=10)
    assert analysis.class_counts["good"] == 1


def test_what_cannot_be_analysed_is_said() -> None:
    truth, detections, protocol = random_scene(0)
    with pytest.raises(UsageError, match="meant, published"):
        analyze(detections, truth, protocol, corrections="wrong")  # type: ignore[arg-type]
    own = replace(protocol, metric=lambda *_: {})
    with pytest.raises(UsageError, match="metric of its own"):
        analyze(detections, truth, own)


def test_no_torch_is_imported() -> None:
    code = (
        "import sys; from posebench.bench.analysis import analyze;"
        "print(analyze.__name__, [name for name in ('torch', 'cv2', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "analyze []", done.stderr
