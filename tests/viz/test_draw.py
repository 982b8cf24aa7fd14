from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from posebench.skeleton import COCO, CROWDPOSE, SKELETONS
from posebench.structures import PosePredictions, Poses
from posebench.viz import draw_annotations, draw_poses
from posebench.viz.colours import shades_of
from posebench.viz.draw import draw_paths, limb_side, side_of
from tests.viz.reference import Figure
from tests.viz.test_capsules import WAYS, use

# A standing person in a 100 x 200 box, CrowdPose's keypoints; the person's left is our right.
_BODY = torch.tensor(
    [[70, 40], [30, 40], [85, 75], [15, 75], [90, 110], [10, 110], [62, 110], [38, 110],
     [64, 155], [36, 155], [66, 198], [34, 198], [50, 5], [50, 30]], dtype=torch.float64,
)  # fmt: skip
_LEFT_KNEE, _RIGHT_KNEE, _HEAD = 8, 9, 12


def grey(height: int = 300, width: int = 400) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def people(*offsets: tuple[float, float], score: float = 0.9) -> PosePredictions:
    keypoints = torch.stack([_BODY + torch.tensor(offset) for offset in offsets])
    shape = keypoints.shape[:2]
    return PosePredictions(keypoints, torch.full(shape, 0.95), torch.full(shape[:1], score))


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(-1)


def pixel(image: np.ndarray, point: torch.Tensor) -> np.ndarray:
    x, y = point.round().int().tolist()
    return image[y, x].astype(int)


def test_every_keypoint_is_drawn_and_nothing_far_away() -> None:
    image, poses = grey(), people((40, 60))
    drawn = changed(image, draw_poses(image, poses, CROWDPOSE))
    for x, y in poses.keypoints[0].int().tolist():
        assert drawn[y, x]
    assert not drawn[:, 160:].any()
    assert not drawn[280:].any()
    assert not drawn[:20].any()


def test_the_image_itself_is_not_modified() -> None:
    image = grey()
    draw_poses(image, people((40, 60)), CROWDPOSE)
    assert (image == 128).all()


def test_left_limbs_are_lighter_than_right_limbs_of_the_same_person() -> None:
    poses = people((40, 60))
    drawn = draw_poses(grey(), poses, CROWDPOSE)
    left, right = (pixel(drawn, poses.keypoints[0, k]) for k in (_LEFT_KNEE, _RIGHT_KNEE))
    assert left.sum() > right.sum() + 90


@pytest.mark.parametrize(
    ("spelt", "pairs"),
    [
        (("L_knee", "R_knee"), None),
        (("knee left", "KneeRight"), ()),
        (("inner", "outer"), ((8, 9),)),
    ],
)
def test_sides_are_found_however_they_are_spelt(
    spelt: tuple[str, str], pairs: tuple[tuple[int, int], ...] | None
) -> None:
    names = list(CROWDPOSE.keypoints)
    names[_LEFT_KNEE], names[_RIGHT_KNEE] = spelt
    poses = people((40, 60))
    usual = draw_poses(grey(), poses, CROWDPOSE)
    drawn = draw_poses(grey(), poses, replace(CROWDPOSE, keypoints=tuple(names), pairs=pairs))
    assert (drawn == usual).all()


def test_two_people_have_different_colours_unless_given_the_same() -> None:
    poses = people((40, 60), (200, 60))

    def knees(colours: list[int] | None) -> list[list[int]]:
        drawn = draw_poses(grey(), poses, CROWDPOSE, colours=colours)
        return [pixel(drawn, person[_LEFT_KNEE]).tolist() for person in poses.keypoints]

    own = knees(None)
    assert own[0] != own[1]
    assert knees([1, 1]) == [own[1], own[1]]


def test_people_below_min_score_are_not_drawn() -> None:
    image, poses = grey(), people((40, 60), (200, 60))
    poses = replace(poses, scores=torch.tensor([0.8, 0.2]))
    drawn = changed(image, draw_poses(image, poses, CROWDPOSE, min_score=0.5))
    assert drawn[:, :170].any()
    assert not drawn[:, 200:].any()


def test_an_unsure_keypoint_is_fainter() -> None:
    image, poses = grey(), people((40, 60))
    unsure = poses.keypoint_scores.clone()
    unsure[0, _LEFT_KNEE] = 0.1
    knee = poses.keypoints[0, _LEFT_KNEE]
    sure, faint = (
        np.abs(pixel(draw_poses(image, p, CROWDPOSE), knee) - 128).sum()
        for p in (poses, replace(poses, keypoint_scores=unsure))
    )
    assert 0 < faint < 0.6 * sure


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e6, 1e6, 1e300])
def test_strange_keypoints_do_not_crash_and_leave_the_others(bad: Any) -> None:
    image, poses = grey(), people((40, 60))
    keypoints = poses.keypoints.clone()
    keypoints[0, _HEAD] = bad
    drawn = draw_poses(image, replace(poses, keypoints=keypoints), CROWDPOSE)
    assert (pixel(drawn, keypoints[0, _LEFT_KNEE]) != 128).any()


def test_nothing_finite_draws_nothing() -> None:
    poses = people((40, 60))
    nowhere = replace(poses, keypoints=torch.full_like(poses.keypoints, float("nan")))
    assert (draw_poses(grey(), nowhere, CROWDPOSE) == 128).all()


def test_people_outside_the_image_draw_nothing() -> None:
    image = grey()
    drawn = draw_poses(image, people((1000, 0), (-500, -500)), CROWDPOSE)
    assert (drawn == image).all()


def test_no_predictions_return_an_equal_copy() -> None:
    image = grey()
    nobody = PosePredictions(torch.zeros(0, 14, 2), torch.zeros(0, 14), torch.zeros(0))
    drawn = draw_poses(image, nobody, CROWDPOSE)
    assert (drawn == image).all()
    assert drawn is not image


def test_the_score_is_written_above_the_head_and_within_the_image() -> None:
    image = grey()
    for offset in ((150, 80), (150, 0)):  # the second one has no room above
        poses = people(offset)
        alone = draw_poses(image, replace(poses, scores=torch.tensor([0.9])), CROWDPOSE)
        other = draw_poses(image, replace(poses, scores=torch.tensor([0.1])), CROWDPOSE)
        rows, columns = np.nonzero(changed(alone, other))
        assert len(rows) and rows.max() < offset[1] + 30
        assert abs(columns.mean() - (offset[0] + 50)) < 15


def test_lines_are_wider_in_larger_images() -> None:
    def width_of_thigh(scale: int) -> int:
        poses = people((40, 60))
        poses = replace(poses, keypoints=scale * poses.keypoints)
        image = grey(300 * scale, 400 * scale)
        row = scale * (60 + 132)  # between hip and knee
        drawn = changed(image, draw_poses(image, poses, CROWDPOSE))
        return int(drawn[row, scale * 90 : scale * 120].sum())

    assert 2 <= width_of_thigh(1) <= 8
    assert 7 * width_of_thigh(1) < 2 * width_of_thigh(8) < 24 * width_of_thigh(1)


@pytest.mark.parametrize("name", SKELETONS)
def test_every_skeleton_can_be_drawn(name: str) -> None:
    skeleton = SKELETONS[name]
    generator = torch.Generator().manual_seed(0)
    keypoints = 64 * torch.rand(30, len(skeleton), 2, generator=generator)
    poses = PosePredictions(keypoints, torch.rand(30, len(skeleton)), torch.rand(30))
    assert draw_poses(grey(64, 64), poses, skeleton).shape == (64, 64, 3)


def test_the_wrong_skeleton_is_named() -> None:
    with pytest.raises(ValueError, match="coco has 17 keypoints, but the poses have 14"):
        draw_poses(grey(), people((0, 0)), COCO)


def annotated(visibility: int) -> Poses:
    keypoints = 4 * _BODY[None] + 50
    visibilities = torch.full((1, 14), visibility)
    return Poses(keypoints, visibilities, torch.ones(1), torch.zeros(1, 4, 2))


def test_visible_keypoints_are_filled_and_occluded_ones_hollow() -> None:
    image = grey(900, 500)
    visible, occluded = annotated(2), annotated(2)
    occluded.visibility[0, 4] = 1  # the left wrist, where one limb ends
    wrist = visible.keypoints[0, 4]
    beyond = wrist + torch.tensor([0.0, 5.0])  # still within the disc
    filled = draw_annotations(image, visible, CROWDPOSE)
    hollow = draw_annotations(image, occluded, CROWDPOSE)
    assert (pixel(filled, wrist) != 128).any()
    assert (pixel(hollow, wrist) == 128).all()
    assert (pixel(hollow, beyond) != 128).any()


def test_unlabelled_keypoints_are_not_drawn() -> None:
    image = grey(900, 500)
    assert (draw_annotations(image, annotated(0), CROWDPOSE) == image).all()
    nobody = Poses.empty(14)
    assert (draw_annotations(image, nobody, CROWDPOSE) == image).all()


def test_a_path_is_drawn_from_its_hollow_start_to_its_end() -> None:
    image = grey()
    paths = np.array([[[50.0, 50.0]], [[150.0, 50.0]], [[150.0, 200.0]]])
    drawn = draw_paths(image, paths)
    touched = changed(image, drawn)
    for x, y in ((100, 50), (150, 120), (150, 199)):
        assert drawn[y, x].min() > 230
    assert not touched[100:190, 40:140].any()
    assert not touched[220:].any()
    # The middle of the first disc is a hole, darkened by its outline at most.
    assert drawn[50, 48].max() < 200
    assert (image == 128).all()


def test_a_path_of_what_is_no_place_is_not_drawn() -> None:
    image = grey()
    assert not changed(image, draw_paths(image, np.full((3, 2, 2), np.nan))).any()
    assert not changed(image, draw_paths(image, np.zeros((0, 2, 2)))).any()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("annotated_ones", [False, True])
def test_people_are_painted_in_the_order_of_their_parts(
    way: str, annotated_ones: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowd is as the reference paints it, outline by outline, limb by limb, disc by disc."""
    use(way, monkeypatch)
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (90, 120, 3), np.uint8)
    height = 40 * (0.3 + rng.random((6, 1, 1)))
    shapes = _BODY.numpy() / 200 * height + rng.uniform(0, (100, 60), (6, 1, 2))
    visibility, certainty = rng.integers(0, 3, (6, 14)), rng.random((6, 14))
    certainty /= certainty.max(1, keepdims=True)
    keypoints, expected = torch.from_numpy(shapes), image.copy()
    for i in reversed(range(6)):
        shown = visibility[i] > 0 if annotated_ones else np.ones(14, bool)
        hollow = visibility[i] == 1 if annotated_ones else np.zeros(14, bool)
        opacity = np.ones(14) if annotated_ones else np.clip(0.15 + 1.2 * certainty[i], 0.15, 1)
        limbs = [(a, b) for a, b in CROWDPOSE.limbs if shown[a] and shown[b]]
        shades = shades_of(i)
        Figure(
            points=shapes[i], limbs=limbs, drawn=np.flatnonzero(shown).tolist(),
            opacity=opacity.tolist(), hollow=hollow.tolist(),
            dashed=(hollow if annotated_ones else certainty[i] < 0.3).tolist(),
            limb_colours=[shades[limb_side(CROWDPOSE, a, b)] for a, b in limbs],
            colours=[shades[side_of(CROWDPOSE, k)] for k in range(14)],
        ).paint(expected, width=1.2)  # fmt: skip
    if annotated_ones:
        poses = Poses(keypoints, torch.from_numpy(visibility), torch.ones(6), torch.zeros(6, 4, 2))
        drawn = draw_annotations(image, poses, CROWDPOSE)
    else:
        found = PosePredictions(keypoints, torch.from_numpy(certainty), torch.rand(6))
        drawn = draw_poses(image, found, CROWDPOSE)  # too small for labels
    assert np.abs(expected.astype(int) - drawn).max() <= 1
    assert (drawn != image).any()


def test_a_number_chooses_the_colour_and_is_the_label() -> None:
    image = np.full((200, 200, 3), 90, np.uint8)
    shape = np.random.default_rng(0).uniform(0, 150, (1, 17, 2)) + 20
    people = PosePredictions(
        torch.from_numpy(shape), torch.ones(1, 17), torch.ones(1), skeleton=COCO
    )
    plain, first, second, ninth = (
        draw_poses(image, people, COCO, numbers=numbers) for numbers in (None, [1], [2], [9])
    )
    legs = slice(120, 200)  # below the label
    coloured = draw_poses(image, people, COCO, colours=[1])
    assert (plain[legs] == first[legs]).all() and (plain != first).any()
    assert (coloured[legs] == second[legs]).all()
    assert (first[legs] == ninth[legs]).all() and (first != ninth).any()  # eight colours
