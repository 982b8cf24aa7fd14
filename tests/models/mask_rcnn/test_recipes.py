"""The weights that Mask R-CNN's recipe downloads."""

from __future__ import annotations

import pytest
from torchvision.models.detection import KeypointRCNN_ResNet50_FPN_Weights

from posebench.published import find_published


def test_downloaded_weights_are_torchvisions() -> None:
    weights = KeypointRCNN_ResNet50_FPN_Weights.COCO_V1
    entry = find_published("mask_rcnn_resnet50_coco")
    assert entry is not None and entry.url == weights.url
    assert entry.megabytes * 1e6 == pytest.approx(weights.meta["_file_size"] * 2**20, rel=0.01)
    printed = weights.meta["_metrics"]["COCO-val2017"]["kp_map"]
    assert entry.ap == pytest.approx(printed, abs=0.05)
