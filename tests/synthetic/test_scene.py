"""Whole scenes: people, props and backdrop, and the annotations of the people."""

from __future__ import annotations

import numpy as np
import pytest

from posebench.synthetic.scene import draw_scene


def test_everyone_on_the_picture_is_annotated_and_seen() -> None:
    scene = draw_scene(np.random.default_rng(5), 256, 1, lookalike=False)
    assert (scene.area > 0).all()
    assert ((scene.visibility > 0).sum(1) >= 4).all()
    assert (scene.boxes[:, :2] + scene.boxes[:, 2:] <= 256).all()


@pytest.mark.parametrize(
    ("seed", "crowd", "people", "nose", "visibility", "area", "mean_colour"),
    [
        (0, 0.0, 1, [97.7149, 65.2044], 37, 1893.0, [187.572, 178.785, 166.693]),
        (5, 1.0, 10, [114.0959, 58.0931], 335, 133.0, [168.319, 169.429, 155.634]),
    ],
)
def test_a_scene_stays_as_it_was(
    seed: int,
    crowd: float,
    people: int,
    nose: list[float],
    visibility: int,
    area: float,
    mean_colour: list[float],
) -> None:
    # Recorded. One more draw from the generator changes every number, and with them the results
    # of everything that was trained on synthetic crowds.
    scene = draw_scene(np.random.default_rng(seed), 128, crowd, lookalike=False)
    assert len(scene.area) == people
    assert scene.joints[0, 0].tolist() == pytest.approx(nose, abs=1e-4)
    assert scene.visibility.sum() == visibility
    assert scene.area[0] == area
    # OpenCV's anti-aliasing may differ by a grey level between versions.
    assert scene.image.mean((0, 1)).tolist() == pytest.approx(mean_colour, abs=0.05)
