"""Decoding of hand-made maps; the published numbers are in tests/parity."""

from __future__ import annotations

import pytest
import torch

from posebench.models.higher_hrnet.decoding import decode_image, resize_tags


def test_people_are_decoded_best_first_in_image_pixels() -> None:
    # Two keypoints; the first person (tag 1) has both, the second (tag 5) the first alone.
    heatmaps, tags = torch.zeros(2, 20, 30), torch.zeros(2, 1, 20, 30)
    for k, x, y, height, tag in ((0, 4, 3, 0.9, 1.0), (1, 6, 9, 0.8, 1.0), (0, 20, 15, 0.7, 5.0)):
        heatmaps[k, y, x], tags[k, 0, y, x] = height, tag
    # The second person's missing keypoint: low, but of the right tag.
    heatmaps[1, 12, 25], tags[1, 0, 12, 25] = 0.05, 5.0
    to_image = torch.tensor([[2.0, 0.0, 10.0], [0.0, 2.0, -1.0]], dtype=torch.float64)
    people = decode_image(heatmaps, tags, to_image)
    # Left and up by a quarter on ties, then to the pixel's centre.
    cells = torch.tensor([[[4.25, 3.25], [6.25, 9.25]], [[20.25, 15.25], [25.25, 12.25]]])
    torch.testing.assert_close(people.keypoints, 2 * cells + torch.tensor([10.0, -1.0]))
    assert people.keypoint_scores.flatten().tolist() == pytest.approx([0.9, 0.8, 0.7, 0.05])
    # The filled-in keypoint does not raise the score.
    assert people.scores.tolist() == pytest.approx([(0.9 + 0.8) / 2, 0.7 / 2])


def test_maps_without_peaks_have_no_people() -> None:
    people = decode_image(torch.zeros(3, 8, 8), torch.zeros(3, 1, 8, 8), torch.eye(2, 3))
    assert people.keypoints.shape == (0, 3, 2)
    assert people.keypoint_scores.shape == (0, 3)
    assert people.scores.shape == (0,)


def test_tags_of_both_views_are_resized_alike() -> None:
    tags = torch.rand(2, 3, 1, 4, 5).expand(2, 3, 2, 4, 5)
    resized = resize_tags(tags, (8, 10))
    assert resized.shape == (2, 3, 2, 8, 10)
    assert resized[:, :, 0].equal(resized[:, :, 1])
    assert resize_tags(tags, (4, 5)).equal(tags)
