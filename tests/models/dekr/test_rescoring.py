"""DEKR's scoring net and its features, by hand-worked poses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posebench.errors import ModelError
from posebench.models.dekr.rescoring import LINKS, ScoringNet, pose_features
from posebench.skeleton import COCO, CROWDPOSE, MPII, SKELETONS


def test_features_are_links_lengths_and_scores() -> None:
    links = (*tuple((0, 1) for _ in range(11)), (1, 2))
    keypoints = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [3.0, 19.0]]])
    features = pose_features(keypoints, torch.tensor([[0.1, 0.2, 0.3]]), links)[0]
    unit = (5 + 15) / 2
    assert features[:2].tolist() == pytest.approx([-3 / unit, -4 / unit])
    assert features[22:24].tolist() == pytest.approx([0, -15 / unit])
    assert features[24:36].tolist() == pytest.approx([*[5 / unit] * 11, 15 / unit])
    assert features[36:].tolist() == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(("length", "unit"), [(0.5, 1.0), (1.5, 1.5)])
def test_short_units_are_not_used(length: float, unit: float) -> None:
    links = tuple((0, 1) for _ in range(12))
    keypoints = torch.tensor([[[0.0, 0.0], [0.0, length]]])
    features = pose_features(keypoints, torch.zeros(1, 2), links)[0]
    assert features[24].item() == pytest.approx(length / unit)


@pytest.mark.parametrize("name", LINKS)
def test_links_name_every_keypoint(name: str) -> None:
    named = {keypoint for link in LINKS[name] for keypoint in link}
    assert named == set(range(len(SKELETONS[name])))


def test_scores_are_multiplied_and_may_become_negative() -> None:
    net = ScoringNet(COCO)
    weights = dict(net.layers.named_parameters())
    for name in ("0.weight", "2.weight", "4.weight"):
        weights[name].zero_()
    weights["4.bias"].fill_(-0.5)
    people = np.random.default_rng(0).uniform(size=(2, 17, 2))
    nobody = people[:0], np.ones((0, 17))
    images, scores = [(people, np.ones((2, 17))), nobody], [np.array([0.4, 0.2]), np.zeros(0)]
    rescored, none = net.rescored(images, scores)
    assert rescored.tolist() == [-0.2, -0.1]
    assert none.shape == (0,)
    # A keypoint that is not a number makes the expected OKS 0.
    weights["0.weight"].fill_(1.0)
    weights["4.weight"].fill_(1.0)
    people[0, 3, 0] = np.nan
    assert net.rescored(images, scores)[0][0] == 0


def test_its_parameters_are_not_trained() -> None:
    assert not any(parameter.requires_grad for parameter in ScoringNet(CROWDPOSE).parameters())


def test_a_keypoint_set_without_links_is_refused() -> None:
    with pytest.raises(ModelError, match="coco and crowdpose, not of mpii"):
        ScoringNet(MPII)
