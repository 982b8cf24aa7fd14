"""The dataset of synthetic crowds: what its images and annotations are."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from posebench.data.synthetic_crowds import SyntheticCrowds, crowd_index
from posebench.errors import UsageError
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton
from posebench.structures import Poses, Sample, box_corners

HASH = """
import hashlib
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.skeleton import COCO
sample = SyntheticCrowds(COCO, seed=3).load(7)
print(hashlib.sha256(sample.image.tobytes() + sample.poses.keypoints.numpy().tobytes()).hexdigest())
"""


def samples(crowd: float, count: int = 25, skeleton: Skeleton = COCO) -> list[Sample]:
    dataset = SyntheticCrowds(skeleton, crowd=crowd)
    return [dataset.load(index, pixels=False) for index in range(count)]


def test_an_image_is_the_same_in_another_process_and_after_other_images() -> None:
    dataset = SyntheticCrowds(COCO, seed=3)
    for index in (9, 2):
        dataset.load(index)
    sample = dataset.load(7)
    data = sample.image.tobytes() + sample.poses.keypoints.numpy().tobytes()
    fresh = subprocess.run([sys.executable, "-c", HASH], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("change", [{"split": "val"}, {"seed": 1}])
def test_splits_and_seeds_draw_other_images(change: dict[str, Any]) -> None:
    image = SyntheticCrowds(COCO).load(0).image
    assert (image != SyntheticCrowds(COCO, **change).load(0).image).any()


def test_annotations_do_not_depend_on_whether_pixels_are_drawn() -> None:
    dataset = SyntheticCrowds(COCO, crowd=0.8)
    drawn, bare = dataset.load(4), dataset.load(4, pixels=False)
    assert torch.equal(drawn.poses.keypoints, bare.poses.keypoints)
    assert torch.equal(drawn.poses.visibility, bare.poses.visibility)
    assert drawn.image.shape == bare.image.shape == (256, 256, 3)
    assert drawn.image.dtype == np.uint8


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE, MPII], ids=lambda s: s.name)
@pytest.mark.parametrize("crowd", [0, 0.5, 1])
def test_labelled_keypoints_lie_in_the_image_and_seen_ones_in_the_box(
    skeleton: Skeleton, crowd: float
) -> None:
    in_box = []
    for sample in samples(crowd, 12, skeleton):
        poses = sample.poses
        assert len(poses) >= 1
        assert set(poses.visibility.unique().tolist()) <= {0, 1, 2}
        labelled = poses.visibility > 0
        assert (poses.keypoints[labelled] >= 0).all()
        assert (poses.keypoints[labelled] <= 255).all()
        assert (poses.keypoints[~labelled] == 0).all()
        assert (poses.area >= 1).all()
        low, high = poses.boxes[:, :1], poses.boxes[:, 3:]
        within = ((poses.keypoints >= low - 1) & (poses.keypoints <= high)).all(-1)
        in_box.append(within[poses.visibility == 2])
    assert torch.cat(in_box).float().mean() > 0.99


def test_crowds_hide_limbs_and_people_alone_hardly() -> None:
    limbs = slice(5, 17)

    def hidden_share(crowd: float) -> float:
        shown = torch.cat([s.poses.visibility[:, limbs].flatten() for s in samples(crowd, 40)])
        return float((shown[shown > 0] == 1).float().mean())

    assert hidden_share(0) < 0.25
    assert hidden_share(1) > hidden_share(0) + 0.2


def test_more_people_come_with_the_crowd_level() -> None:
    means = [np.mean([len(s.poses) for s in samples(crowd)]) for crowd in (0, 0.3, 0.6, 1)]
    assert means[0] == 1
    assert means == sorted(means)
    assert max(len(s.poses) for s in samples(1)) > 10


def test_both_keypoint_sets_annotate_the_same_scene() -> None:
    coco, crowdpose = (SyntheticCrowds(s, crowd=0.7).load(3) for s in (COCO, CROWDPOSE))
    assert (coco.image == crowdpose.image).all()
    for name in CROWDPOSE.keypoints[:12]:
        a, b = COCO.keypoints.index(name), CROWDPOSE.keypoints.index(name)
        assert torch.equal(coco.poses.keypoints[:, a], crowdpose.poses.keypoints[:, b])
        assert torch.equal(coco.poses.visibility[:, a], crowdpose.poses.visibility[:, b])
    x, y, right, bottom = crowdpose.poses.boxes[:, [0, 3]].flatten(1).T
    torch.testing.assert_close(crowdpose.poses.area, 0.53 * (right - x) * (bottom - y))
    assert (coco.poses.area < (right - x) * (bottom - y)).all()


def test_left_is_right_of_right_on_people_who_face_the_camera() -> None:
    # Nose and both eyes are seen, but not both ears behind them: most of these people face us.
    widths = []
    for sample in samples(0, 60):
        visibility = sample.poses.visibility[0]
        if (visibility[:5] == 2).all() and (visibility[[5, 6, 11, 12]] > 0).all():
            points = sample.poses.keypoints[0]
            upright = points[5, 1] < points[11, 1] - 20
            if upright:
                widths.append(float(points[5, 0] - points[6, 0]))
    assert len(widths) > 5
    assert np.mean(np.array(widths) > 0) > 0.9


def test_lookalike_people_wear_one_outfit() -> None:
    def shirt_spread(lookalike: bool) -> float:
        """How much the colour in the middle of the trunks varies within an image."""
        spreads = []
        dataset = SyntheticCrowds(COCO, crowd=0.4, lookalike=lookalike)
        for index in range(20):
            sample = dataset.load(index)
            poses = sample.poses
            shoulders_and_hips = [5, 6, 11, 12]
            whole = (poses.visibility[:, shoulders_and_hips] == 2).all(1)
            middles = poses.keypoints[whole][:, shoulders_and_hips].mean(1).long()
            if len(middles) > 1:
                colours = sample.image[middles[:, 1], middles[:, 0]].astype(float)
                spreads.append(colours.std(0).mean())
        return float(np.mean(spreads))

    assert shirt_spread(True) < 0.6 * shirt_spread(False)


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE], ids=lambda s: s.name)
def test_ground_truth_says_what_is_loaded(skeleton: Skeleton) -> None:
    dataset = SyntheticCrowds(skeleton, "val", length=4)
    content = dataset.ground_truth().to_coco()
    assert [image["id"] for image in content["images"]] == [1, 2, 3, 4]
    assert content["images"][2]["file_name"] == "val/000003.png"
    assert [a["id"] for a in content["annotations"]] == list(
        range(1, len(content["annotations"]) + 1)
    )
    for index in dataset.labelled():
        sample = dataset.load(index)
        people = [a for a in content["annotations"] if a["image_id"] == sample.image_id]
        keypoints = torch.tensor([a["keypoints"] for a in people], dtype=torch.float64)
        keypoints = keypoints.view(len(people), -1, 3)
        assert torch.equal(keypoints[..., :2], sample.poses.keypoints)
        assert torch.equal(keypoints[..., 2].long(), sample.poses.visibility)
        assert [a["area"] for a in people] == sample.poses.area.tolist()
        boxes = torch.tensor([a["bbox"] for a in people], dtype=torch.float64)
        assert torch.equal(box_corners(boxes), sample.poses.boxes)
        counted = sample.poses.visibility[:, : 12 if skeleton is CROWDPOSE else 17] > 0
        assert [a["num_keypoints"] for a in people] == counted.sum(1).tolist()
    assert ("crowdIndex" in content["images"][0]) == (skeleton is CROWDPOSE)


def test_crowd_index_of_two_people_by_hand() -> None:
    # The first box holds both of its own keypoints and one of the other's; the second box holds
    # both of its own and none of the first's.
    keypoints = torch.tensor([[[1, 1], [3, 3]], [[9, 9], [4, 4]]], dtype=torch.float64)
    boxes = box_corners(torch.tensor([[0, 0, 5, 5], [3.5, 3.5, 6, 6]], dtype=torch.float64))
    visibility = torch.full((2, 2), 2)
    poses = Poses(keypoints, visibility, torch.ones(2, dtype=torch.float64), boxes)
    assert crowd_index(poses) == pytest.approx((1 / 2 + 0) / 2)


@pytest.mark.parametrize(
    "wrong", [{"split": "test"}, {"crowd": 1.5}, {"size": 32}], ids=lambda w: next(iter(w))
)
def test_a_field_outside_its_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SyntheticCrowds(COCO, **wrong)


def test_mpiis_points_lie_between_the_others() -> None:
    scenes = [[SyntheticCrowds(s, crowd=0).load(i).poses for s in (COCO, MPII)] for i in range(8)]
    coco, mpii = next(
        (a, b) for a, b in scenes if (a.visibility > 0).all() and (b.visibility > 0).all()
    )

    def at(poses: Poses, skeleton: Skeleton, name: str) -> torch.Tensor:
        return poses.keypoints[:, skeleton.keypoints.index(name)]

    for point, joint in (("pelvis", "hip"), ("thorax", "shoulder")):
        sides = [at(coco, COCO, f"{side}_{joint}") for side in ("left", "right")]
        middle = torch.stack(sides).mean(0)
        # Seen in perspective, the middle lies a little off.
        assert (at(mpii, MPII, point) - middle).norm(dim=-1).max() < 2
    head, neck = at(mpii, MPII, "head_top"), at(mpii, MPII, "upper_neck")
    assert (head[:, 1] < neck[:, 1]).all()
