"""The weights that Mask R-CNN's recipe downloads."""

from __future__ import annotations

from pathlib import PurePosixPath

from torchvision.models.detection import KeypointRCNN_ResNet50_FPN_Weights

from posebench.downloads import hash_in_name
from posebench.models import RECIPES


def test_downloaded_weights_are_torchvisions() -> None:
    weights = KeypointRCNN_ResNet50_FPN_Weights.COCO_V1
    assert RECIPES["mask_rcnn_resnet50_coco"].weights_url == weights.url
    # The file's SHA-256 is compared with the digits that its name ends in.
    assert hash_in_name(PurePosixPath(weights.url).name) == "fc266e95"
    with_weights = {name for name, recipe in RECIPES.items() if recipe.weights_url == weights.url}
    assert with_weights == {"mask_rcnn_resnet50_coco"}
