"""The whole analysis of a result file."""

from __future__ import annotations

from typing import Literal

import numpy as np

from posebench.bench.analysis.calibration import calibration
from posebench.bench.analysis.costs import JOINT_KINDS, error_costs
from posebench.bench.analysis.curves import precision_recall
from posebench.bench.analysis.intervals import Resamples, interval
from posebench.bench.analysis.kinds import Nearest, outcome_kinds, tide_errors
from posebench.bench.analysis.parts import group_aps, suppressions
from posebench.bench.analysis.records import (
    detection_records,
    joint_records,
    keypoint_errors,
    person_records,
)
from posebench.bench.analysis.scene import Outcome, Scene
from posebench.bench.analysis.scores import optimal_scores, resemblances
from posebench.bench.analysis.taxonomy import CORRECTIONS, classify
from posebench.bench.analysis.values import Analysis, BackgroundCounts
from posebench.bench.draws import DRAWS, SEED
from posebench.errors import UsageError
from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import THRESHOLDS, Detections
from posebench.structures import Protocol


def analyze(
    detections: Detections,
    truth: GroundTruth,
    protocol: Protocol,
    *,
    corrections: Literal["meant", "published"] = "meant",
    draws: int = DRAWS,
    seed: int = SEED,
) -> Analysis:
    """Find out what a result file loses AP by.

    Args:
        detections: the predicted poses, in the order of the file.
        truth: the annotations.
        protocol: determines keypoints, areas and sigmas.
        corrections: "meant" puts mended keypoints where their similarity is the one that the
            taxonomy names; "published" as near as the published program does, which is nearer.
        draws: bootstrap resamples of the images for intervals; 0: none.
        seed: of the resamples. Two analyses of the same images have the same ones.

    Raises:
        UsageError: the protocol has a metric of its own, or `corrections` is neither of these.
    """
    if protocol.metric is not None:
        raise UsageError(
            "An analysis explains AP, but this dataset has a metric of its own: give it another "
            "protocol."
        )
    if corrections not in CORRECTIONS:
        raise UsageError(
            f"Expected one of {', '.join(CORRECTIONS)} as corrections, but found {corrections!r}."
        )
    correction = CORRECTIONS[corrections]
    scene = Scene(truth, detections, protocol)
    counted = scene.everybody
    resamples = Resamples(scene.num_images, draws, seed)
    outcome = scene.outcome(scene.original, counted)
    nearest = Nearest.of(scene, counted.people)
    kinds = outcome_kinds(outcome, nearest)
    taxonomy = classify(scene, counted)
    mended = taxonomy.mended(scene.original, JOINT_KINDS, correction)
    joints = joint_records(scene, taxonomy, mended)
    matches = outcome.matches()
    samples = resamples.ap(matches)
    ap = matches.curves().ap()
    blocks = resemblances(scene, scene.original)
    _, optimal = optimal_scores(scene, scene.original, counted, blocks)
    costs = error_costs(
        scene, taxonomy, kinds, correction, optimal, resamples,
        published=corrections == "published",
    )  # fmt: skip
    return Analysis(
        ap=interval(ap, samples),
        costs=costs,
        keypoints=keypoint_errors(scene, joints),
        joints=joints,
        detections=detection_records(scene, taxonomy, nearest, kinds, optimal),
        people=person_records(scene, outcome),
        calibration=calibration(outcome, nearest.oks),
        curves=precision_recall(outcome, resamples.few.weights),
        suppression=suppressions(scene, outcome, blocks, resamples.few),
        groups=group_aps(scene, protocol, joints, resamples.few),
        background=background_counts(outcome),
        tide=tuple(tide_errors(scene, oks) for oks in (0.5, 0.75)),
        scoring_errors=next(one.count for one in costs if one.kind == "score"),
        corrections=corrections,
        draws=draws,
        seed=seed,
        num_images=scene.num_images,
        num_people=int(counted.people.sum()),
        keypoint_names=tuple(scene.skeleton.keypoints),
        image_ids=tuple(truth.image_id(index) for index in range(truth.num_images)),
        person_ids=tuple(truth.ids),
    )


def background_counts(outcome: Outcome) -> tuple[BackgroundCounts, ...]:
    """Return the detections that match nobody and the people whom nobody matches."""
    missed = outcome.counted & ~outcome.found
    return tuple(
        BackgroundCounts(float(np.round(oks, 2)), int(wrong.sum()), int(gone.sum()))
        for oks, wrong, gone in zip(THRESHOLDS, outcome.wrong, missed, strict=True)
    )
