"""PoseDet's predictions: views, coarse poses and suppression."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from posebench.models.posedet.decoding import suppress
from posebench.skeleton import COCO, CROWDPOSE, Skeleton
from posebench.structures import FitResize, Inference
from tests.builders import make_sample
from tests.models.posedet.networks import TINY, lively


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE])
@pytest.mark.parametrize("inference", [
    Inference(FitResize(64, 96), flip=False),
    Inference(FitResize(64, 96), flip=True),
    Inference(FitResize(64, 96), flip=True, scales=(0.7, 1.0)),
])  # fmt: skip
def test_many_people_in_a_batch_are_found_as_alone(
    skeleton: Skeleton, inference: Inference
) -> None:
    model = lively(skeleton)
    samples = [make_sample(2, skeleton, seed=seed) for seed in range(2)]
    # Another size before padding, and the same after it.
    samples.append(replace(samples[0], image=samples[0].image[:120]))
    together = model.predict(samples, inference)
    for sample, joint in zip(samples, together, strict=True):
        (alone,) = model.predict([sample], inference)
        assert len(joint) > 5
        torch.testing.assert_close(joint.scores, alone.scores)
        torch.testing.assert_close(joint.keypoints, alone.keypoints)
        width, height = sample.size
        assert (joint.keypoints >= -1e-6).all()
        assert (joint.keypoints <= torch.tensor([width, height]) + 1e-6).all()


def test_a_mirrored_image_gives_mirrored_people() -> None:
    model = lively()
    sample = make_sample(0, size=90)
    mirrored = replace(sample, image=sample.image[:, ::-1].copy())
    inference = Inference(FitResize(64, 64), flip=True)
    (found,), (other,) = (model.predict([s], inference) for s in (sample, mirrored))
    assert len(found) == len(other) > 5
    torch.testing.assert_close(found.scores, other.scores)
    back = other.keypoints[:, list(COCO.flip_index)]
    back = torch.stack([90 - back[..., 0], back[..., 1]], -1)
    torch.testing.assert_close(found.keypoints, back)


def test_further_looks_meet_in_suppression() -> None:
    model = lively()
    once, twice = (
        model.predict([make_sample(0)], Inference(FitResize(64, 64), flip=flip))[0]
        for flip in (False, True)
    )
    assert twice.scores[0] >= once.scores[0]
    assert len(twice) <= 100


def test_coarse_poses_may_be_read() -> None:
    sample, inference = make_sample(0), Inference(FitResize(64, 64), flip=False)
    torch.manual_seed(1)
    refined = lively()
    torch.manual_seed(1)
    coarse = lively(config=replace(TINY, read_coarse=True))
    assert refined.score.weight.equal(coarse.score.weight)
    (fine,), (rough,) = (m.predict([sample], inference) for m in (refined, coarse))
    assert fine.scores[0] == rough.scores[0]
    assert not fine.keypoints[0].equal(rough.keypoints[0])


def test_boxes_may_suppress_in_place_of_poses() -> None:
    # Two poses in one box, with left and right exchanged.
    pose = torch.rand(1, 17, 2) * 200
    poses = torch.cat([pose, pose[:, list(COCO.flip_index)]])
    scores = torch.tensor([0.9, 0.8])
    assert suppress(poses, scores, TINY, COCO).tolist() == [0, 1]
    assert suppress(poses, scores, replace(TINY, nms="iou"), COCO).tolist() == [0]
