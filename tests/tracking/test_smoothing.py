"""The One Euro filter: less jitter at rest, little lag in motion."""

from __future__ import annotations

import json

import numpy as np
import pytest

from posebench.tracking import OneEuro

SHAPE = np.random.default_rng(0).uniform(0, 100, (17, 2))


def test_jitter_at_rest_is_calmed() -> None:
    rng, smooth = np.random.default_rng(1), OneEuro()
    noisy = [SHAPE + rng.normal(0, 1, (17, 2)) for _ in range(100)]
    calm = [smooth.update([1], one[None], number / 25)[0] for number, one in enumerate(noisy)]
    jitter = [float(np.diff(frames[20:], axis=0).std()) for frames in (noisy, calm)]
    assert jitter[1] < 0.5 * jitter[0]
    assert np.abs(np.mean(calm[20:], axis=0) - SHAPE).max() < 0.6


def test_motion_is_followed() -> None:
    smooth = OneEuro()
    for number in range(50):  # two and a half sides a second
        where = SHAPE + 10.0 * number
        [followed] = smooth.update([1], where[None], number / 25)
    assert 0 < float((where - followed).mean()) < 12  # little more than a frame


def test_people_are_smoothed_by_their_number() -> None:
    smooth = OneEuro()
    both = np.stack([SHAPE, SHAPE + 500])
    smooth.update([1, 2], both, 0.0)
    np.testing.assert_allclose(smooth.update([2, 1], both[::-1].copy(), 0.1), both[::-1])
    moved = smooth.update([3, 1], both + 1.0, 0.2)
    np.testing.assert_array_equal(moved[0], both[0] + 1)  # somebody new
    assert (moved[1] != both[1] + 1).all()


def test_the_first_step_is_that_of_the_paper() -> None:
    smooth = OneEuro()
    smooth.update([1], np.zeros((1, 1, 2)), 0.0)
    [[[x, y]]] = smooth.update([1], np.array([[[2.0, 0.0]]]), 0.5)
    # Speed: share 2 pi 0.5 / (1 + 2 pi 0.5) of 4 px/s. Side 1 px (the least), so the cutoff is
    # 1 + 2 * speed; and the position has the share of that cutoff.
    share = np.pi / (1 + np.pi)
    cutoff = 1 + 2 * share * 4
    assert x == pytest.approx(2 * np.pi * cutoff * 0.5 / (1 + 2 * np.pi * cutoff * 0.5) * 2)
    assert y == 0


def test_a_state_goes_on() -> None:
    rng = np.random.default_rng(2)
    frames = [(rng.uniform(0, 50, (2, 17, 2)), number / 25) for number in range(10)]
    whole, first, second = OneEuro(), OneEuro(), OneEuro()
    expected = [whole.update([1, 2], *frame) for frame in frames]
    for frame in frames[:5]:
        first.update([1, 2], *frame)
    second.restore(json.loads(json.dumps(first.state())))
    rest = [second.update([1, 2], *frame) for frame in frames[5:]]
    np.testing.assert_array_equal(rest, expected[5:])
