"""What DEKR's profile draws and returns."""

from __future__ import annotations

import torch

from posebench.models.dekr.decoding import DEKROutputs
from posebench.models.dekr.model import DEKR
from posebench.models.dekr.profile import graph_outputs, heatmaps, restored
from posebench.models.dekr.recipes import DEKRConfig
from posebench.skeleton import COCO
from posebench.structures import Geometry

MODEL = DEKR(DEKRConfig(backbone="hrnet_tiny", channels=2, nms_keypoints=8), COCO).eval()


def test_a_persons_maps_are_the_heatmaps_around_its_keypoints() -> None:
    maps = torch.zeros(1, 18, 16, 24)
    maps[0, -1, 8, 12] = 0.9  # a centre
    maps[0, :-1, 4, 6] = 0.5  # where its keypoints are
    maps[0, :-1, 12, 20] = 0.7  # somebody else's
    offsets = torch.zeros(1, 17, 2, 16, 24)
    offsets[0, :, 0, 8, 12], offsets[0, :, 1, 8, 12] = 6, 4
    offsets[0, 1:, :, 8, 12] += 0.1 * torch.arange(16)[:, None]  # not all at one point
    to_image = torch.tensor([[[0.5, 0, 10], [0, 0.5, 20]]], dtype=torch.float64)
    geometry = Geometry(to_image, torch.tensor([False]), torch.tensor([[96, 64]]))
    [(people, drawn)] = heatmaps(MODEL, DEKROutputs(maps, offsets.flatten(1, 2)), geometry)
    assert people.keypoints[0, 0].tolist() == [4 * 6 * 0.5 + 10, 4 * 4 * 0.5 + 20]
    assert drawn.people.shape == (1, 17, 16, 24)
    assert drawn.people[0, 0, 4, 6] == 0.5
    assert drawn.people[0, 0, 12, 20] == 0
    assert drawn.scene["centre"].max() == torch.tensor(0.9)
    assert drawn.scene["keypoints"][12, 20] == torch.tensor(0.7)
    # The middle of a cell is drawn where the cell lies.
    middle = torch.tensor([4 * 6 + 2.0, 4 * 4 + 2.0], dtype=torch.float64)
    placed = drawn.to_image[:, :2] @ middle + drawn.to_image[:, 2]
    torch.testing.assert_close(placed, people.keypoints[0, 0].double())


def test_outputs_come_back_from_named_tensors() -> None:
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected = MODEL(images)
        found = restored(MODEL, graph_outputs(MODEL, images, None, False), (64, 96))
    torch.testing.assert_close(found.heatmaps, expected.heatmaps)
    torch.testing.assert_close(found.offsets, expected.offsets)
