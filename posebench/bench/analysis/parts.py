"""AP of parts of a dataset, and AP after suppression.

People outside a group are ignored, as COCO ignores people outside a range of areas.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from posebench.bench.analysis.intervals import Resamples, interval
from posebench.bench.analysis.records import class_counts, truncated
from posebench.bench.analysis.scene import Outcome, Scene
from posebench.bench.analysis.scores import Resemblance, suppressed
from posebench.bench.analysis.values import GroupAP, JointRecords, Suppression
from posebench.bench.groups import Group, groups_of
from posebench.structures import Protocol

LIMITS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # OKS of two detections


def group_aps(
    scene: Scene, protocol: Protocol, joints: JointRecords, resamples: Resamples
) -> tuple[GroupAP, ...]:
    """Return AP by crowding, overlap, labelled keypoints, size and truncation."""
    truth = scene.truth
    groups = [one for one in groups_of(truth, protocol) if one.by != "keypoint"]
    if (np.asarray(truth.sizes) > 0).all() and len(truth):
        at_border = truncated(truth)
        for label, chosen in (("inside", ~at_border), ("at the border", at_border)):
            people = truth.people & chosen
            if people.any():
                groups.append(Group("truncation", label, people=people))
    counted = [scene.counted(one.area, one.people) for one in groups]
    outcomes = scene.outcomes(scene.original, counted)
    return tuple(
        _group_ap(group, outcome, joints, resamples)
        for group, outcome in zip(groups, outcomes, strict=True)
    )


def _group_ap(
    group: Group, outcome: Outcome, joints: JointRecords, resamples: Resamples
) -> GroupAP:
    scene, matches = outcome.scene, outcome.matches()
    images = None
    inside = outcome.counted
    if group.images is not None:
        images = np.empty(scene.num_images, np.bool_)
        images[scene.truth.rank] = group.images
        inside = inside & images[scene.people.image]
    value = matches.curves(images).ap()
    return GroupAP(
        by=group.by,
        group=group.label,
        people=int(inside.sum()),
        images=len(np.unique(scene.people.image[inside])),
        ap=interval(value, resamples.ap(matches, images)),
        classes=class_counts(joints, scene.person_rows[inside]),
    )


def suppressions(
    scene: Scene,
    outcome: Outcome,
    blocks: Sequence[Resemblance],
    resamples: Resamples,
) -> tuple[Suppression, ...]:
    """Return what removing all but the best of similar detections would do to AP.

    Args:
        scene: people and detections.
        outcome: of the original file.
        blocks: how much its detections resemble each other.
        resamples: for intervals.
    """
    ap = outcome.curves().ap()
    samples = resamples.ap(outcome.matches())
    found = []
    for limit in LIMITS:
        removed = suppressed(blocks, scene.original.scores, limit)
        kept = scene.outcome_of(~removed)
        after = kept.curves().ap()
        own = resamples.ap(kept.matches())
        gain = None if own is None or samples is None else own - samples
        found.append(
            Suppression(
                limit=limit,
                ap=after,
                gain=interval(after - ap, gain),
                removed=int(removed.sum()),
                removed_true=int((removed & outcome.correct[0]).sum()),
            )
        )
    return tuple(found)
