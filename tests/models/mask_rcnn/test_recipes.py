"""The weights that Mask R-CNN's recipe downloads."""

from __future__ import annotations

from pathlib import PurePosixPath

from torch.hub import HASH_REGEX
from torchvision.models.detection import KeypointRCNN_ResNet50_FPN_Weights

from posebench.models import RECIPES


def test_downloaded_weights_are_torchvisions() -> None:
    weights = KeypointRCNN_ResNet50_FPN_Weights.COCO_V1
    assert RECIPES["mask_rcnn_resnet50_coco"].weights_url == weights.url
    # torch.hub compares the file's sha256 with the digits that its name ends in.
    found = HASH_REGEX.search(PurePosixPath(weights.url).name)
    assert found is not None and found[1] == "fc266e95"
    with_weights = {name for name, recipe in RECIPES.items() if recipe.weights_url == weights.url}
    assert with_weights == {"mask_rcnn_resnet50_coco"}
