"""Mask R-CNN against torchvision's own forward pass, and its targets against hand-worked values."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models.detection import keypointrcnn_resnet50_fpn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from posebench.bench.flops import count_recipe
from posebench.engine.weights import import_published
from posebench.models import RECIPES, profile_of
from posebench.models.mask_rcnn.model import MaskRCNN
from posebench.models.mask_rcnn.recipes import MaskRCNNConfig
from posebench.models.mask_rcnn.views import OVERLAP
from posebench.preprocess import IMAGENET_MEAN, IMAGENET_STD, blank_batch, normalise
from posebench.skeleton import COCO
from posebench.structures import FitResize, Inference, Poses, Sample
from tests.builders import make_batch, make_sample

_CONFIG = RECIPES["mask_rcnn_tiny"].config
assert isinstance(_CONFIG, MaskRCNNConfig)
TINY: MaskRCNNConfig = _CONFIG
SIZE = Inference(FitResize(96, 160), flip=False)


def tiny() -> MaskRCNN:
    """Return a network whose boxes are people: random ones are so too seldom."""
    model = MaskRCNN(TINY, COCO)
    torch.nn.init.normal_(model.roi_heads.box_predictor.bbox_pred.weight, std=0.01)
    return model


def torchvisions(model: MaskRCNN) -> GeneralizedRCNN:
    """Return the same layers, run by torchvision; in training it draws no size of its own."""
    transform = GeneralizedRCNNTransform(
        96, 160, list(IMAGENET_MEAN), list(IMAGENET_STD), _skip_resize=True
    )
    return GeneralizedRCNN(model.backbone, model.rpn, model.roi_heads, transform)


def small_sample(people: int = 1) -> tuple[torch.Tensor, Sample]:
    """Return an image of 144 x 96 pixels for torchvision, and as a sample."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (96, 144, 3), dtype=np.uint8)
    return torch.from_numpy(image).permute(2, 0, 1) / 255, replace(
        make_sample(people, size=96), image=image
    )


def test_predictions_are_torchvisions() -> None:
    model = tiny().eval()
    image, sample = small_sample()
    with torch.inference_mode():
        (found,) = torchvisions(model).eval()([image])
    (predictions,) = model.predict([sample], SIZE)
    assert len(predictions) == len(found["scores"]) > 10
    torch.testing.assert_close(predictions.scores, found["scores"], rtol=1e-4, atol=1e-6)
    same = (predictions.keypoints - found["keypoints"][..., :2]).abs().amax((1, 2)) < 1e-2
    assert same.float().mean() > 0.95  # where two cells are as high, rounding decides


def test_losses_are_torchvisions() -> None:
    model = tiny().train()
    image, sample = small_sample(people=2)
    batch = make_batch((2,), size=96)
    batch = replace(
        batch,
        images=normalise(torch.from_numpy(sample.image[None])),
        geometry=replace(batch.geometry, sizes=torch.tensor([[144, 96]])),
    )
    torch.manual_seed(sum(batch.seeds))
    theirs = torchvisions(model).train()([image], model.targets(batch))
    ours = model.loss(batch)
    names = {
        "objectness": "loss_objectness", "proposal_box": "loss_rpn_box_reg",
        "class": "loss_classifier", "box": "loss_box_reg", "keypoint": "loss_keypoint",
    }  # fmt: skip
    assert (set(ours), set(theirs)) == (set(names), set(names.values()))
    for name, term in ours.items():
        torch.testing.assert_close(term, theirs[names[name]])


def test_samples_of_boxes_are_drawn_from_the_images_seeds() -> None:
    model = tiny().train()
    batch = make_batch((2, 1))
    torch.manual_seed(1)
    first = model.loss(batch)
    after = torch.rand(1)
    torch.manual_seed(2)
    second = model.loss(batch)
    assert all(first[name].equal(second[name]) for name in first)
    other = model.loss(replace(batch, seeds=[5, 6]))
    assert any(not first[name].equal(other[name]) for name in first)
    torch.manual_seed(1)
    assert torch.rand(1).equal(after)  # the process's own draws go on as if nothing had been drawn


def test_published_names_and_shapes_are_torchvisions() -> None:
    with torch.device("meta"):
        theirs = keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
        ours = MaskRCNN(MaskRCNNConfig(), COCO).state_dict()
    counted = {n: w.shape for n, w in theirs.items() if not n.endswith("num_batches_tracked")}
    assert {name: weight.shape for name, weight in ours.items()} == counted


def test_torchvisions_checkpoint_is_imported(tmp_path: Path) -> None:
    frozen = replace(TINY, frozen_backbone=True)
    recipe = replace(RECIPES["mask_rcnn_tiny"], config=frozen, skeleton=COCO)
    # Some of torchvision's files were written by batch norms that still counted.
    theirs = tiny().state_dict()
    torch.save(theirs, tmp_path / "theirs.pth")
    imported = import_published(tmp_path / "theirs.pth", recipe, tmp_path / "ours.safetensors")
    counters = [name for name in theirs if name.endswith("num_batches_tracked")]
    assert 0 < len(counters) == len(theirs) - len(imported.weights)


def test_people_without_keypoints_and_cut_ones_are_boxes_to_find() -> None:
    corners = torch.tensor([[10.0, 20], [50, 20], [10, 80], [50, 80]]).double()
    poses = Poses(
        keypoints=torch.full((2, 17, 2), 30.0).double(),
        visibility=torch.tensor([[2] * 17, [0] * 17]),
        area=torch.tensor([2400.0, 2400]).double(),
        # The second lies outside; of the unlabelled one the left half is in the image.
        boxes=torch.stack([corners, corners - 200]),
        unlabelled=(corners + torch.tensor([70.0, 0]))[None],
    )
    batch = replace(make_batch((2,), size=96), poses=[poses])
    (targets,) = tiny().targets(batch)
    assert targets["boxes"].tolist() == [[10, 20, 50, 80], [80, 20, 96, 80]]
    assert targets["labels"].tolist() == [1, 1]
    assert targets["keypoints"][0].tolist() == [[30, 30, 1]] * 17
    assert targets["keypoints"][1].tolist() == [[0, 0, 0]] * 17


def test_boxes_that_overlap_are_one_person_in_the_upper_bound() -> None:
    sample = make_sample(1, size=300)
    double = Poses(*(torch.cat([v, v]) for v in vars(sample.poses).values()))
    model = tiny()
    outputs = profile_of(model.config).ideal_outputs(
        model, blank_batch(replace(sample, poses=double), FitResize(512, 800))
    )
    assert [len(boxes) for boxes in outputs.boxes] == [1]
    assert OVERLAP == 0.5


def test_given_people_are_read_where_they_are_and_cost_what_detection_does() -> None:
    model = tiny().eval()
    images = torch.randn(2, 3, 96, 128)
    people = torch.tensor([[1, 6, 8], [1, 2, 3], [0, 1, 1]])
    with torch.inference_mode():
        outputs = model(images, people=people)
    assert [len(boxes) for boxes in outputs.boxes] == [1, 2]
    # Cells of 8 pixels, boxes of half the short side.
    assert outputs.boxes[1][0].tolist() == [68 - 24, 52 - 24, 68 + 24, 52 + 24]
    assert [logits.shape[1:] for logits in outputs.logits] == [(17, 56, 56)] * 2


def test_stages_are_the_forward_pass() -> None:
    model = tiny().eval()
    batch = make_batch((2, 1), size=96)
    people = profile_of(model.config).given_people(model, batch)
    assert people is not None
    assert people[:, 0].tolist() == [0, 0, 1]
    centre = batch.poses[1].boxes[0].mean(0)
    assert people[2, 1:].tolist() == (centre.flip(0) / 8).long().tolist()
    with torch.inference_mode():
        stages = dict(profile_of(model.config).stages(model, batch.images, None, people))
        outputs = model(batch.images, people=people)
    assert list(stages) == ["backbone", "boxes", "keypoints"]
    assert all(a.equal(b) for a, b in zip(stages["keypoints"].logits, outputs.logits, strict=True))


def test_the_cost_is_counted_without_weights() -> None:
    counted = count_recipe(RECIPES["mask_rcnn_resnet50_coco"])
    # torchvision documents 59,137,258 parameters and 137.42 G multiply-adds.
    assert counted.parameters == 59_137_258
    samples = sum(
        cost.macs for cost in counted.operators if re.search("roi_align|upsample", cost.name)
    )
    assert round((counted.macs - samples) / 1e9, 2) == 137.42
    assert round(counted.macs / 1e9, 2) == 137.62


def test_mirrored_and_scaled_views_find_the_same_people() -> None:
    model = tiny().eval()
    _, sample = small_sample()
    plain = model.predict([sample], SIZE)[0]
    merged = model.predict([sample], Inference(FitResize(96, 160), True, (0.5, 1.0)))[0]
    assert len(merged) > 0
    assert (merged.scores.diff() <= 0).all()
    # What was found best of all is found again, at the same place.
    assert merged.scores[0] >= plain.scores[0] - 1e-5


@pytest.mark.parametrize(
    ("field", "value"), [("backbone", "hrnet_w32"), ("channels", 64), ("hidden", 0)]
)
def test_configurations_that_cannot_be_built_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=str(value)):
        replace(MaskRCNNConfig(), **{field: value})
