"""PifPaf's network, losses and views; fields and decoding are in tests/layers and tests/parity."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from posebench.models import profile_of
from posebench.models.pifpaf.losses import confidence_loss, field_losses
from posebench.models.pifpaf.model import (
    IDEAL_LOGIT,
    FieldHead,
    PifPaf,
    _between,
    _unmirrored,
    people_in_cells,
)
from posebench.models.pifpaf.recipes import PifPafConfig
from posebench.preprocess import scaled_batches
from posebench.skeleton import COCO, Skeleton
from posebench.structures import Inference, KeypointStatistics, Resize, box_corners
from tests.builders import make_batch, make_sample

TINY = PifPafConfig(backbone="resnet_tiny")
KITE = Skeleton(
    "kite", ("tip", "l corner", "r corner", "foot"), ((0, 1), (0, 2), (1, 3)), (0.1,) * 4,
    pairs=((1, 2),),
)  # fmt: skip
KITE_POSE = np.array([[0.0, 0.5], [-0.5, 0.25], [0.5, 0.25], [0.0, -0.5]])


def eager(model: PifPaf) -> PifPaf:
    """Return the model with confidences that are high everywhere, so that it finds people."""
    for head in (model.keypoint_head, model.limb_head):
        assert head.conv.bias is not None
        bias = head.conv.bias.data.view(-1, head.values, 4)
        bias[:, 0] = 2.0
        bias[:, 3 if head.values == 4 else slice(5, 7)] = 3.0  # bumps that reach their neighbours
    return model.double().eval()


@pytest.mark.parametrize(("height", "width"), [(641, 641), (128, 96), (97, 129), (50, 33)])
@pytest.mark.parametrize("backbone", ["resnet_tiny", "densenet121"])
def test_fields_have_a_cell_for_every_eight_pixels(backbone: str, height: int, width: int) -> None:
    with torch.device("meta"):
        model = PifPaf(PifPafConfig(backbone=backbone), COCO).eval()
        outputs = model(torch.zeros(2, 3, height, width))
    size = ((height - 1) // 8 + 1, (width - 1) // 8 + 1)
    assert outputs.keypoints.shape == (2, 17, 4, *size)
    assert outputs.limbs.shape == (2, 19, 7, *size)


def test_a_new_head_is_unsure_and_its_scales_are_positive() -> None:
    head = FieldHead(8, 3, 7)
    fields = head(torch.zeros(1, 8, 2, 2), (4, 3))
    assert fields.shape == (1, 3, 7, 4, 3)
    torch.testing.assert_close(fields[:, :, 0].sigmoid(), torch.full((1, 3, 4, 3), 0.01))
    assert (head(torch.randn(1, 8, 2, 2) * 50, (4, 3))[:, :, 5:] >= 0).all()


def test_losses_of_hand_worked_fields() -> None:
    fields, targets = torch.zeros(1, 1, 4, 1, 4), torch.full((1, 1, 4, 1, 4), torch.nan)
    targets[0, 0, 0, 0] = torch.tensor([1.0, 0.0, 0.0, torch.nan])
    targets[0, 0, 1:, 0, 0] = torch.tensor([0.5, 3.0, torch.nan])
    losses = field_losses(fields, targets)
    assert losses.confidence.item() == pytest.approx(math.log(2))  # the mean of three cells
    assert losses.offset.item() == pytest.approx(0.5 * 0.5**2 + 3.0 - 0.5)
    assert losses.scale.item() == 0  # of an unknown scale
    twice = field_losses(fields.repeat(1, 2, 1, 1, 1), targets.repeat(1, 2, 1, 1, 1))
    assert twice.offset.item() == pytest.approx(2 * losses.offset.item())  # a sum over maps


def test_an_image_of_ignored_cells_has_no_loss() -> None:
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = confidence_loss(logits, torch.full((1, 2, 3, 3), torch.nan))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("flip", [False, True])
def test_a_batch_is_predicted_like_its_images_where_people_are_found(flip: bool) -> None:
    model = eager(PifPaf(TINY, COCO))
    samples = [make_sample(2, seed=seed) for seed in range(3)]
    inference = Inference(Resize(128), flip=flip)
    together = model.predict(samples, inference)
    assert sum(len(predictions) for predictions in together) > 3
    for sample, joint in zip(samples, together, strict=True):
        (alone,) = model.predict([sample], inference)
        torch.testing.assert_close(joint.scores, alone.scores, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(joint.keypoints, alone.keypoints, rtol=0, atol=1e-2)


def mirrored_ideal(model: PifPaf, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return an image's ideal fields, and those of its mirror image."""
    batch = make_batch((2,), size=size)
    ideal = profile_of(model.config).ideal_outputs(model, batch)
    [poses] = batch.poses
    flip = list(model.skeleton.flip_index)
    keypoints = poses.keypoints[:, flip]
    keypoints = torch.stack([size - 1 - keypoints[..., 0], keypoints[..., 1]], -1)
    mirrored = profile_of(model.config).ideal_outputs(
        model, replace(batch, poses=[replace(poses, keypoints=keypoints)])
    )
    return ideal.keypoints, ideal.limbs, mirrored.keypoints, mirrored.limbs


@pytest.mark.parametrize("size", [128, 129])
def test_mirrored_fields_point_to_the_same_places(size: int) -> None:
    with torch.device("meta"):
        model = PifPaf(TINY, COCO)
    keypoints, _, mirrored, _ = mirrored_ideal(model, size)
    back = _unmirrored(mirrored[:, list(COCO.flip_index)], size)
    both = (keypoints[:, :, 0] > 0) & (back[:, :, 0] > 0)
    assert both.sum() > 0.5 * (keypoints[:, :, 0] > 0).sum()
    columns = torch.arange(keypoints.shape[-1])
    for value in (1, 2):
        ours, theirs = keypoints[:, :, value] + columns, back[:, :, value] + columns
        # Cells in which two people compete may encode the other one.
        same = ((ours - theirs).abs() < 1e-4)[both]
        assert same.float().mean() > 0.9


def test_flipping_finds_what_it_finds_without_for_a_perfect_network() -> None:
    class Perfect(PifPaf):
        """Outputs the ideal fields of an image and of its mirror image."""

        def forward(self, images: Tensor, padding: object = None, people: object = None) -> object:
            fields = mirrored_ideal(self, images.shape[-1])
            keypoints, limbs = torch.cat(fields[::2]), torch.cat(fields[1::2])
            return type(profile_of(self.config).ideal_outputs(self, make_batch((2,))))(
                keypoints, limbs
            )

    with torch.device("meta"):
        model = Perfect(TINY, COCO)
    batch = make_batch((2,), size=128)
    merged = model.merged_outputs([batch], Inference(Resize(128), flip=True))
    (found,) = model.decode(merged, batch.geometry)
    truth = batch.poses[0].keypoints.float()
    assert len(found) == 2
    order = torch.cdist(found.keypoints.mean(1), truth.mean(1)).argmin(1)
    assert (found.keypoints - truth[order]).abs().max() < 0.5


def test_scales_are_decoded_together() -> None:
    with torch.device("meta"):
        model = PifPaf(TINY, COCO)
    sample = make_sample(2, size=256)
    inference = Inference(Resize(256), scales=(1.0, 0.5))
    [(_, batches)] = scaled_batches([sample], inference)
    # One of the two people is seen at the smaller scale alone.
    first, second = (profile_of(model.config).ideal_outputs(model, batch) for batch in batches)
    alone = replace(batches[0], poses=[batches[0].poses[0][:1]])
    (one,) = model.decode(profile_of(model.config).ideal_outputs(model, alone), alone.geometry)
    assert len(one) == 1
    to_first = _between(batches[1].geometry, batches[0].geometry)
    joint = replace(
        profile_of(model.config).ideal_outputs(model, alone),
        further=((second.keypoints, second.limbs, to_first),),
    )
    (both,) = model.decode(joint, batches[0].geometry)
    (expected,) = model.decode(first, batches[0].geometry)
    assert len(both) == len(expected) == 2
    order = torch.cdist(both.keypoints.mean(1), expected.keypoints.mean(1)).argmin(1)
    assert (both.keypoints - expected.keypoints[order]).abs().max() < 0.1
    assert both.scores[1] < both.scores[0]


def test_a_model_predicts_at_several_scales() -> None:
    model = eager(PifPaf(TINY, COCO))
    inference = Inference(Resize(128), flip=True, scales=(0.5, 1.0, 2.0))
    predictions, _ = profile_of(model.config).explain(model, make_sample(2), inference)
    assert len(predictions) > 0
    assert predictions.keypoints.isfinite().all()


def test_people_of_two_keypoints_are_found_by_their_area() -> None:
    batch = make_batch((1,), size=128)
    [poses] = batch.poses
    visibility = torch.zeros_like(poses.visibility)
    visibility[0, [5, 7]] = 2
    batch = replace(batch, poses=[replace(poses, visibility=visibility)])
    with torch.device("meta"):
        model = PifPaf(TINY, COCO)
    assert model.targets(batch).keypoints[0, 5, 3].isnan().all()
    ideal = profile_of(model.config).ideal_outputs(model, batch)
    assert ideal.keypoints[0, 5, 3].amax() > 0
    assert set(ideal.keypoints[0, 5, 0].unique().tolist()) == {-IDEAL_LOGIT, IDEAL_LOGIT}


def test_a_perfect_network_finds_people_in_the_box_of_a_crowd() -> None:
    batch = make_batch((1,), size=128)
    [poses] = batch.poses
    everywhere = box_corners(torch.tensor([[0.0, 0.0, 128.0, 128.0]], dtype=torch.float64))
    crowded = replace(batch, poses=[replace(poses, crowds=everywhere)])
    with torch.device("meta"):
        model = PifPaf(TINY, COCO)
    assert model.targets(crowded).keypoints[0, :, 0].isnan().any()
    ideal, expected = (
        profile_of(model.config).ideal_outputs(model, crowded),
        profile_of(model.config).ideal_outputs(model, batch),
    )
    assert ideal.keypoints.equal(expected.keypoints)
    assert ideal.limbs.equal(expected.limbs)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="resnext50"):
        PifPafConfig(backbone="vgg")


def kite_statistics(pose: np.ndarray[Any, np.dtype[np.float64]] = KITE_POSE) -> KeypointStatistics:
    return KeypointStatistics(np.ones((4, 4)), pose, np.ones((4, 4), np.int64), 1)


def test_the_training_sets_mean_pose_stands_for_an_unknown_upright_one() -> None:
    model = PifPaf(TINY, KITE)
    assert model.current_layout().upright == ()
    model.prepare(kite_statistics)
    assert model.current_layout() == replace(
        model.layout, upright=tuple((x, y) for x, y in KITE_POSE.tolist())
    )
    again = PifPaf(TINY, KITE)
    again.load_state_dict(model.state_dict())  # as from a checkpoint
    assert again.current_layout() == model.current_layout()
    # Without the foot, the box is a third as high.
    batch = make_batch((1,), KITE, 64)
    places = 10 + 40 * torch.from_numpy(KITE_POSE * (1, -1) + 0.5)
    poses = replace(batch.poses[0], keypoints=places[None], visibility=torch.tensor([[2, 2, 2, 0]]))
    [people] = people_in_cells(replace(batch, poses=[poses]), model.current_layout(), 8)
    turned = KITE_POSE @ np.array([[1, 1], [-1, 1]])
    growth = min(4.0, float(np.ptp(turned, 0).prod() / np.ptp(turned[:3], 0).prod()))
    assert people.scales[0, 0].item() == pytest.approx(0.1 * math.sqrt(5 * 1.25 * growth))


def test_a_mean_pose_of_figures_that_face_every_way_is_not_used() -> None:
    model = PifPaf(TINY, KITE)
    model.prepare(lambda: kite_statistics(0.2 * KITE_POSE))
    assert model.current_layout().upright == ()
    known = PifPaf(TINY, COCO)
    before = known.current_layout()
    known.prepare(lambda: pytest.fail("measured for nothing"))
    assert known.current_layout() == before
    assert "mean_pose" not in known.state_dict()


def test_limbs_without_a_mirror_image_are_those_of_the_image_itself() -> None:
    torch.manual_seed(0)
    model = eager(PifPaf(TINY, KITE))  # a limb from the left corner to the foot, none on the right
    [[_, [batch]]] = scaled_batches([make_sample(1, KITE)], Inference(Resize(128)))
    batch = replace(batch, images=batch.images.double())
    with torch.no_grad():
        own = model.merged_outputs([batch], Inference(Resize(128), flip=False))
        merged = model.merged_outputs([batch], Inference(Resize(128), flip=True))
    assert merged.limbs[:, 2].equal(own.limbs[:, 2])
    assert not merged.limbs[:, 0].equal(own.limbs[:, 0])
    assert not merged.keypoints.equal(own.keypoints)
