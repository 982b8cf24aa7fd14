"""timm's backbones, with ImageNet weights or tiny ones with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from torch import nn

from posebench.downloads import cache_folder, download
from posebench.errors import ModelError

_NARROW = {"model_name": "resnet10t", "channels": (32, 64, 128, 256), "stem_width": 16}
# Backbones that are trained in minutes on two CPU cores: one narrow block in each stage. The others
# stand for deeper backbones and other families in studies of the backbone.
_TINY: dict[str, dict[str, Any]] = {
    "resnet_tiny": _NARROW,
    "resnet_tiny_2": {**_NARROW, "layers": (2, 2, 2, 2)},
    "resnet_tiny_3": {**_NARROW, "layers": (3, 3, 3, 3)},
    "resnext_tiny": {
        "model_name": "resnext50_32x4d", "layers": (1, 1, 1, 1), "channels": (16, 32, 64, 128),
        "cardinality": 8, "base_width": 16,
    },
    "densenet_tiny": {
        "model_name": "densenet121", "growth_rate": 16, "block_config": (2, 2, 4, 2),
    },
    "swin_tiny": {
        "model_name": "swin_tiny_patch4_window7_224", "embed_dim": 32, "depths": (1, 1, 2, 1),
        "num_heads": (1, 2, 4, 8),
    },
    "swin_tiny_wide": {
        "model_name": "swin_tiny_patch4_window7_224", "embed_dim": 64, "depths": (2, 2, 4, 2),
        "num_heads": (2, 4, 8, 16),
    },
}  # fmt: skip


def timm_backbone(name: str, *, pretrained: bool, **options: Any) -> nn.Module:
    """Return timm's network of this name, or a tiny one, as a feature pyramid.

    Args:
        name: timm's, or that of a tiny backbone.
        pretrained: start from ImageNet weights, downloaded or from timm's cache.
        options: of `timm.create_model`.

    Raises:
        ModelError: the ImageNet weights do not exist or cannot be downloaded.
    """
    if name in _TINY and pretrained:
        raise ModelError(f"There are no ImageNet weights for {name}: add --no-pretrained.")
    model = {"model_name": name, **_TINY.get(name, {})}
    if pretrained:
        file = _imagenet_weights(name)
        model["pretrained_cfg_overlay"] = {"file": str(file)}
    try:
        backbone: nn.Module = timm.create_model(
            features_only=True, pretrained=pretrained, **model, **options
        )
    except Exception as error:
        if not pretrained:
            raise
        # A file that was put there by hand may be anything, and timm passes on any error of it.
        raise ModelError(
            f"{file} does not hold the ImageNet weights of {name}: delete it to download them "
            "again, or add --no-pretrained to start from random weights."
        ) from error
    return backbone


def _imagenet_weights(name: str) -> Path:
    """Return the file of timm's ImageNet weights, from a cache or downloaded.

    Raises:
        ModelError: there is none, or it cannot be downloaded.
    """
    from huggingface_hub import hf_hub_url, try_to_load_from_cache

    weights = timm.get_pretrained_cfg(name)
    if weights is None or not weights.hf_hub_id:
        raise ModelError(f"timm has no ImageNet weights for {name}: add --no-pretrained.")
    repository, _, revision = weights.hf_hub_id.partition("@")
    file = weights.hf_hub_filename or "model.safetensors"
    cached = try_to_load_from_cache(repository, file, revision=revision or None)
    if isinstance(cached, str):  # by timm itself
        return Path(cached)
    # All files of the hub have one name; the repository's tells them apart.
    target = cache_folder() / f"{repository.rpartition('/')[2]}{Path(file).suffix}"
    try:
        return download(hf_hub_url(repository, file, revision=revision or None), target)
    except ModelError as error:
        raise ModelError(
            f"The ImageNet weights of {name} are missing: {error} Or add --no-pretrained to start "
            "from random weights."
        ) from error
