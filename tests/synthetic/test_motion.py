"""Crowds that move: the same each time, with people who walk, cross and hide one another."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from posebench.synthetic.body import JOINTS
from posebench.synthetic.motion import MovingCrowd

CROWD = MovingCrowd(people=6, size=128, seed=3)


def test_a_frame_is_determined_by_its_time() -> None:
    first = CROWD.frame(1.2)
    CROWD.frame(0.4)
    second, black = CROWD.frame(1.2), CROWD.frame(1.2, pixels=False)
    np.testing.assert_array_equal(first.scene.image, second.scene.image)
    np.testing.assert_array_equal(first.scene.joints, black.scene.joints)
    np.testing.assert_array_equal(first.people, black.people)
    assert not black.scene.image.any() and first.scene.image.any()
    assert (
        MovingCrowd(people=6, size=128, seed=4).frame(1.2).scene.image != first.scene.image
    ).any()


def test_people_move_on_and_not_in_leaps() -> None:
    frames = [CROWD.frame(number / 25, pixels=False) for number in range(50)]
    hips = JOINTS.index("left_hip")
    steps, walked = [], 0.0
    for before, after in pairwise(frames):
        shared = set(before.people.tolist()) & set(after.people.tolist())
        for person in shared:
            a = before.scene.joints[before.people == person][0]
            b = after.scene.joints[after.people == person][0]
            steps.append(float(np.abs(b - a).max()))
            walked += abs(float(b[hips, 0] - a[hips, 0]))
    assert max(steps) < 0.06 * CROWD.size
    assert walked > CROWD.size


def test_people_hide_one_another_for_a_while() -> None:
    seen: dict[int, list[float]] = {}
    for number in range(100):
        frame = CROWD.frame(number / 10, pixels=False)
        for person, share in zip(frame.people.tolist(), frame.seen.tolist(), strict=True):
            seen.setdefault(person, []).append(share)
    crossed = [shares for shares in seen.values() if min(shares) < 0.5 and max(shares) > 0.95]
    assert len(crossed) >= 2
    assert len(seen) > CROWD.people  # who comes back from beyond the sides is somebody new


def test_annotations_are_where_people_are() -> None:
    frame = CROWD.frame(0.0)
    x, y, width, height = frame.scene.boxes.T
    visible = frame.scene.visibility == 2
    inside = (
        (frame.scene.joints >= np.stack([x, y], 1)[:, None] - 3)
        & (frame.scene.joints <= np.stack([x + width, y + height], 1)[:, None] + 3)
    ).all(-1)
    assert np.asarray(inside)[visible].mean() > 0.95
    assert len(frame.people) == len(frame.seen) == len(frame.scene.joints)
    assert (frame.seen > 0).all() and frame.seen.max() == pytest.approx(1.0)
