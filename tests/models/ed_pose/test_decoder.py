"""Which queries see one another, how people are expanded, and what the heads read."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from posebench.layers.portable import portable_operators
from posebench.models.ed_pose.decoder import pose_mask
from posebench.models.ed_pose.outputs import (
    EDPoseOutputs,
    NoiseQueries,
    mirror_back,
    with_noise,
)
from posebench.skeleton import COCO, CROWDPOSE
from tests.builders import make_batch
from tests.models.ed_pose.builders import TINY, small_model


def test_keypoints_see_their_person_and_boxes_all_boxes_too() -> None:
    expected = [
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
    ]
    assert pose_mask(2, 2, torch.device("cpu")).int().tolist() == expected


def test_noise_queries_are_seen_by_none_but_their_group() -> None:
    sees = torch.eye(2, dtype=torch.bool)[None]
    noise = NoiseQueries(torch.zeros(1, 2, 8), torch.zeros(1, 2, 4), sees)
    expected = [[1, 0, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert with_noise(None, noise, 2)[0].int().tolist() == expected


def test_a_person_becomes_its_box_and_keypoint_boxes() -> None:
    model = small_model()
    decoder = model.decoder
    queries, boxes = torch.randn(1, 7, 64), torch.rand(1, 7, 4) * 0.5 + 0.25
    logits = decoder.class_heads[TINY.box_layers - 1](queries)
    best = logits.amax(-1)[0].topk(TINY.people).indices
    expanded, references = decoder.expand(queries, boxes, 0)
    people, of_people = expanded.view(4, 18, 64), references.view(4, 18, 4)
    assert people[:, 0].equal(queries[0, best])
    assert of_people[:, 0].equal(boxes[0, best])
    content = queries[0, best, None] + decoder.keypoint_embedding
    torch.testing.assert_close(people[:, 1:], content)
    shares = decoder.keypoint_sides.sigmoid()
    torch.testing.assert_close(of_people[:, 1:, 2:], shares * boxes[0, best, None, 2:])
    moved = decoder.pose_heads[-1](content)
    centres = (boxes[0, best, None, :2].logit() + moved).sigmoid()
    torch.testing.assert_close(of_people[:, 1:, :2], centres)


@pytest.mark.parametrize(("first", "heads"), [("own head", 3), ("first layer's head", 2)])
def test_first_centres_have_a_head_of_their_own_or_the_first_layers(first: str, heads: int) -> None:
    decoder = small_model(replace(TINY, first_centres=first), CROWDPOSE).decoder  # type: ignore[arg-type]
    assert len(decoder.pose_heads) == heads
    assert decoder.first_centres == (2 if first == "own head" else 0)


def test_noise_queries_change_no_other_prediction() -> None:
    model = small_model()
    images = torch.randn(2, 3, 64, 96)
    sees = torch.ones(2, 6, 6, dtype=torch.bool)
    noise = NoiseQueries(torch.randn(2, 6, 64), torch.rand(2, 6, 4), sees)
    with torch.no_grad():
        features = model.features(images)
        without = model.predictions(features, every_layer=True)
        outputs = model.predictions(features, noise, every_layer=True)
    assert outputs.noise is not None and outputs.detected is not None
    assert without.detected is not None and without.noise is None
    assert outputs.noise.boxes.shape == (3, 2, 6, 4)
    assert outputs.detected.boxes.shape == (2, 2, 20, 4)  # the encoder's and a box layer's
    for name in ("logits", "boxes", "keypoints"):
        torch.testing.assert_close(getattr(outputs, name), getattr(without, name))
    torch.testing.assert_close(outputs.detected.boxes, without.detected.boxes)


def test_images_with_few_tokens_have_fewer_queries() -> None:
    with torch.no_grad():
        outputs = small_model(replace(TINY, box_queries=900, people=100))(torch.randn(1, 3, 32, 32))
    assert outputs.logits.shape == (1, 1, 22, 2)  # 16 + 4 + 1 + 1 tokens


@pytest.mark.parametrize("levels", [4, 5])
def test_backbones_have_four_or_five_levels(levels: int) -> None:
    model = small_model(replace(TINY, backbone="swin_tiny", levels=levels))
    with torch.no_grad():
        tokens = model.features(torch.randn(1, 3, 64, 96)).tokens
    sizes = ((16, 24), (8, 12), (4, 6), (2, 3), (1, 2))
    assert tokens.sizes == sizes[5 - levels :]


def padded_images() -> tuple[Tensor, Tensor]:
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    padding = torch.zeros(2, 64, 96, dtype=torch.bool)
    padding[1, :, 80:] = True
    return images, padding


def assert_same_people(found: EDPoseOutputs, expected: EDPoseOutputs) -> None:
    for name in ("logits", "boxes", "keypoints"):
        wanted = getattr(expected, name)
        torch.testing.assert_close(getattr(found, name), wanted, rtol=1e-4, atol=1e-5)


def test_nothing_depends_on_values() -> None:
    """On a device, the network waits for no result, with noise queries neither."""
    model = small_model().to("meta")
    images, padding = (tensor.to("meta") for tensor in padded_images())
    sees = torch.ones(2, 6, 6, dtype=torch.bool, device="meta")
    noise = NoiseQueries(images.new_zeros(2, 6, 64), images.new_zeros(2, 6, 4), sees)
    outputs = model.predictions(model.features(images, padding), noise, every_layer=True)
    assert outputs.keypoints.shape == (2, 2, 4, 17, 2)
    assert outputs.keypoints.device.type == "meta"


def test_exported_operators_compute_the_same() -> None:
    model = small_model()
    with torch.no_grad():
        expected = model(*padded_images())
        with portable_operators():
            assert_same_people(model(*padded_images()), expected)


@pytest.mark.slow
def test_the_network_compiles_as_one_graph() -> None:
    model = small_model()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert_same_people(compiled(*padded_images()), model(*padded_images()))


def test_mirrored_images_have_mirrored_people() -> None:
    batch = make_batch((1,), size=64)
    boxes = torch.tensor([0.25, 0.5, 0.2, 0.4]).view(1, 1, 1, 4)
    keypoints = torch.rand(1, 1, 1, 17, 2)
    outputs = EDPoseOutputs(torch.zeros(1, 1, 1, 2), boxes, keypoints)
    back = mirror_back(outputs, batch, COCO)
    expected = torch.tensor([63 / 64 - 0.25, 0.5, 0.2, 0.4])
    torch.testing.assert_close(back.boxes.flatten(), expected)
    left = COCO.keypoints.index("left_wrist")
    right = COCO.keypoints.index("right_wrist")
    torch.testing.assert_close(
        back.keypoints[0, 0, 0, left, 0], 63 / 64 - keypoints[0, 0, 0, right, 0]
    )
