"""Mask R-CNN's configuration and training recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posebench.models.mask_rcnn.model import MaskRCNN
from dataclasses import dataclass
from typing import Any, ClassVar

from posebench.recipe import ModelConfig, Recipe, Reported
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton
from posebench.structures import DetrAugment, FitResize, Inference


@dataclass(frozen=True)
class MaskRCNNConfig(ModelConfig):
    method: ClassVar[str] = "mask_rcnn"
    draw_score: ClassVar[float] = 0.89  # of best F1

    backbone: str = "resnet50"
    frozen_backbone: bool = True  # batch norms, stem and first stage keep their ImageNet weights
    channels: int = 256  # of the pyramid
    hidden: int = 1024  # channels of the box head
    keypoint_layers: int = 8
    keypoint_channels: int = 512

    def __post_init__(self) -> None:
        if self.backbone not in ("resnet50", "resnet_tiny"):
            raise ValueError(
                f"Mask R-CNN's backbone must be resnet50 or resnet_tiny, not {self.backbone!r}."
            )
        if self.backbone == "resnet50" and self.channels != 256:
            raise ValueError(f"Mask R-CNN's channels must be 256 on resnet50, not {self.channels}.")
        for name in ("channels", "hidden", "keypoint_layers", "keypoint_channels"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"Mask R-CNN's {name} must be at least 1, not {getattr(self, name)}."
                )

    def build(self, skeleton: Skeleton) -> MaskRCNN:
        from posebench.models.mask_rcnn.model import MaskRCNN

        return MaskRCNN(self, skeleton)


def _recipe(dataset: str, skeleton: Skeleton, **fields: Any) -> Recipe:
    """Return a recipe with torchvision's settings for COCO; it has none for other datasets."""
    return Recipe(
        name=f"mask_rcnn_resnet50_{dataset}",
        config=MaskRCNNConfig(),
        skeleton=skeleton,
        inference=Inference(FitResize(short_side=800, long_side=1333), flip=False),
        augment=DetrAugment(short_sides=(640, 672, 704, 736, 768, 800), crop=0.0),
        epochs=46,
        lr_drops=(36, 43),
        batch_size=16,
        micro_batch_size=2,
        lr=0.02,
        warmup_steps=1000,
        optimizer="sgd",
        momentum=0.9,
        weight_decay=1e-4,
        **fields,
    )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _recipe(
            "coco", COCO, default_for=("coco", "ochuman"),
            reported=(Reported("coco", "val2017", "AP", 65.0, "released"),),
        ),
        _recipe("crowdpose", CROWDPOSE, default_for=("crowdpose",)),
        _recipe("mpii", MPII, default_for=("mpii",)),
        Recipe(
            name="mask_rcnn_tiny",
            config=MaskRCNNConfig(
                backbone="resnet_tiny", frozen_backbone=False, channels=64, hidden=128,
                keypoint_layers=2, keypoint_channels=64,
            ),
            skeleton=None,
            default_for=("synthetic",),
            inference=Inference(FitResize(short_side=192, long_side=320), flip=False),
            augment=DetrAugment(
                short_sides=(176, 192, 208), long_side=320, crop=0.0,
                crop_short_sides=(256,), crop_sides=(160, 256),
            ),
            epochs=6,
            batch_size=8,
            micro_batch_size=8,
            lr=5e-4,
            schedule="cosine",
            warmup_steps=200,
            optimizer="adamw",
            weight_decay=1e-4,
            clip_norm=1.0,
            evaluate_every=2,
            pretrained=False,
        ),
    )
}  # fmt: skip
