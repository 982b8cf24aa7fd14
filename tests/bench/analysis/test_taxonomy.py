"""Classes of keypoints and mended poses, in places worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from posebench.bench.analysis.scene import Scene
from posebench.bench.analysis.taxonomy import (
    MEANT,
    PUBLISHED,
    Taxonomy,
    class_of,
    classify,
)
from posebench.bench.analysis.values import CLASSES
from posebench.metrics.matching import THRESHOLDS, Floats
from posebench.skeleton import Skeleton
from tests.bench.analysis.scenes import SKELETON, at, offset, scene_of

ALL = ("miss", "swap", "inversion", "jitter")


def classes(taxonomy: Taxonomy, row: int = 0) -> list[str]:
    return [CLASSES[code] if code >= 0 else "" for code in taxonomy.kind[row]]


def classified(pose: Floats, skeleton: Skeleton = SKELETON) -> tuple[Scene, Taxonomy]:
    """Classify one detection of the first of two people."""
    scene = scene_of([(0, at(200, 200)), (0, at(500, 200))], [(0, 0.9, pose)], skeleton)
    return scene, classify(scene, scene.everybody)


def test_each_class_by_the_nearest_annotated_keypoint() -> None:
    pose = at(200, 200)
    pose[0, 0] += offset(0.86, 0)  # good: above 0.85
    pose[1, 1] -= offset(0.6, 1)  # jitter
    pose[2] = at(200, 200)[1]  # on the other eye: inversion
    pose[3] = at(500, 200)[4]  # on somebody else's mirrored hand: swap
    pose[4] = (900, 900)  # near nothing: miss
    scene, taxonomy = classified(pose)
    assert classes(taxonomy) == ["good", "jitter", "inversion", "swap", "miss"]
    assert taxonomy.at_person[0].tolist() == [0, 0, 0, 1, -1]
    assert taxonomy.at_mirror[0].tolist() == [False, False, True, True, False]
    assert taxonomy.similarity[0, :2] == pytest.approx([0.86, 0.6])
    assert taxonomy.counts().sum(1).tolist() == [1, 1, 1, 1, 1, 0]
    assert len(scene.people.area) == 2


def test_a_keypoint_predicted_at_the_origin_is_absent() -> None:
    pose = at(200, 200)
    pose[4] = 0
    _, taxonomy = classified(pose)
    assert classes(taxonomy) == ["good"] * 4 + ["absent"]


def test_similarities_at_the_very_limits_have_a_class() -> None:
    limits = np.array([0.5 - 1e-12, 0.5, 0.85, 0.85 + 1e-12])
    found = class_of(limits, np.zeros(4, np.int64))
    assert [CLASSES[code] for code in found] == ["miss", "jitter", "jitter", "good"]
    found = class_of(limits, np.full(4, 2))
    assert [CLASSES[code] for code in found] == ["miss", *["inversion"] * 3]
    for source in (1, 3):
        found = class_of(limits, np.full(4, source))
        assert [CLASSES[code] for code in found] == ["miss", *["swap"] * 3]


def test_without_known_sides_nothing_is_an_inversion() -> None:
    pose = at(200, 200)
    pose[[1, 2]] = pose[[2, 1]]
    pose[[3, 4]] = pose[[4, 3]]
    _, both = classified(pose)
    assert classes(both) == ["good", *["inversion"] * 4]
    _, eyes = classified(pose, replace(SKELETON, pairs=((1, 2),)))
    assert classes(eyes) == ["good", "inversion", "inversion", "miss", "miss"]
    _, none = classified(pose, replace(SKELETON, pairs=None))
    assert classes(none) == ["good", *["miss"] * 4]


def test_as_meant_a_mended_keypoint_just_reaches_its_class() -> None:
    pose = at(200, 200)
    pose[0, 0] += offset(0.3, 0)
    pose[1, 0] += offset(0.7, 1)
    pose[2] = at(200, 200)[1] + (0, offset(0.9, 2))
    scene, taxonomy = classified(pose)
    assert classes(taxonomy)[:3] == ["miss", "jitter", "inversion"]
    after = taxonomy.similarity_of(taxonomy.mended(scene.original, ALL, MEANT))
    assert after[0, :3] == pytest.approx([0.5 + 1e-6, 0.85 + 1e-6, 0.9], abs=1e-9)


def test_as_published_it_comes_to_the_fourth_root() -> None:
    pose = at(200, 200)
    pose[0, 0] += offset(0.3, 0)
    pose[1, 0] += offset(0.7, 1)
    scene, taxonomy = classified(pose)
    after = taxonomy.similarity_of(taxonomy.mended(scene.original, ALL, PUBLISHED))
    assert after[0, :2] == pytest.approx([0.5**0.25, 0.85**0.25])


def test_a_pose_of_mended_misses_is_found_at_the_lowest_threshold() -> None:
    pose = at(200, 200)
    pose[:, 0] += [offset(0.2, keypoint) for keypoint in range(5)]
    scene, taxonomy = classified(pose)
    assert classes(taxonomy) == ["miss"] * 5
    outcome = scene.outcome(taxonomy.mended(scene.original, ["miss"], MEANT), scene.everybody)
    assert outcome.correct[:, 0].tolist() == [True] + [False] * 9
    jitter = at(200, 200)
    jitter[:, 0] += [offset(0.6, keypoint) for keypoint in range(5)]
    scene, taxonomy = classified(jitter)
    outcome = scene.outcome(taxonomy.mended(scene.original, ["jitter"], MEANT), scene.everybody)
    assert outcome.correct[:, 0].tolist() == (THRESHOLDS < 0.86).tolist()


def test_only_the_chosen_classes_move() -> None:
    pose = at(200, 200)
    pose[0, 0] += offset(0.3, 0)
    pose[1, 0] += offset(0.7, 1)
    scene, taxonomy = classified(pose)
    mended = taxonomy.mended(scene.original, ["miss"], MEANT)
    assert (mended.keypoints[0] != pose).any(1).tolist() == [True, False, False, False, False]
    assert mended.oks[0] > scene.original.oks[0]


def test_of_equally_near_keypoints_the_persons_own_comes_first() -> None:
    scene = scene_of([(0, at(200, 200)), (0, at(200, 200))], [(0, 0.9, at(200, 200))])
    taxonomy = classify(scene, scene.everybody)
    assert classes(taxonomy) == ["good"] * 5
    assert (taxonomy.at_person[0] == taxonomy.person[0]).all()


def test_a_detection_below_an_oks_of_a_tenth_is_of_nobody() -> None:
    near, far = at(200, 200), at(200, 200)
    near[:, 0] += [offset(0.11, keypoint) for keypoint in range(5)]
    far[:, 0] += [offset(0.09, keypoint) for keypoint in range(5)]
    assert len(classified(near)[1].detection) == 1
    assert len(classified(far)[1].detection) == 0
