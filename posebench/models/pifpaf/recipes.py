"""PifPaf's configuration and training recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posebench.models.pifpaf.model import PifPaf
from dataclasses import dataclass
from typing import Any, ClassVar

from posebench.layers.backbones import UNPOOLED_WEIGHTS
from posebench.recipe import ModelConfig, Recipe, printed
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton
from posebench.structures import Augment, FitResize, Inference, Resize


@dataclass(frozen=True)
class PifPafConfig(ModelConfig):
    method: ClassVar[str] = "pifpaf"
    draw_score: ClassVar[float] = 0.2  # of best F1, which is the same from 0.1 to 0.2

    backbone: str = "resnet50"
    keypoint_weight: float = 30.0  # alpha, weight of the confidence loss
    keypoint_offset_weight: float = 2.0  # theta; also weighs scales, which the paper leaves open
    limb_weight: float = 50.0  # beta
    limb_offset_weight: float = 3.0  # delta; also weighs scales
    complete_poses: bool = True  # every person gets all keypoints, however low their scores

    def __post_init__(self) -> None:
        if self.backbone not in UNPOOLED_WEIGHTS:
            raise ValueError(
                f"The backbone must be one of {', '.join(UNPOOLED_WEIGHTS)}, not {self.backbone!r}."
            )

    def build(self, skeleton: Skeleton) -> PifPaf:
        from posebench.models.pifpaf.model import PifPaf

        return PifPaf(self, skeleton)


def training_recipe(name: str, config: PifPafConfig, skeleton: Skeleton, **fields: Any) -> Recipe:
    """Return a recipe with DGCN's settings for two GPUs and PifPaf's momentum."""
    return Recipe(
        name=name,
        config=config,
        skeleton=skeleton,
        inference=Inference(FitResize(short_side=641, long_side=641, multiple=1), flip=False),
        augment=Augment(size=641, rotation_deg=0.0, mask_strides=()),
        epochs=100,
        batch_size=8,
        micro_batch_size=4,
        lr=1e-3,
        optimizer="sgd",
        momentum=0.95,
        frozen_epochs=1,
        **fields,
    )


def tiny_recipe(name: str, config: PifPafConfig) -> Recipe:
    """Return a recipe that can be trained on a CPU."""
    return Recipe(
        name=name,
        config=config,
        skeleton=None,
        default_for=("synthetic",),
        inference=Inference(Resize(short_side=256), flip=False),
        augment=Augment(
            size=192, rotation_deg=5.0, scale=(0.6, 0.85), translation=20.0, mask_strides=()
        ),
        epochs=6,
        batch_size=4,
        micro_batch_size=4,
        lr=2e-3,
        schedule="cosine",
        warmup_steps=200,
        evaluate_every=2,
        pretrained=False,
    )


_R50, _R101, _R152, _X50, _D121 = (
    PifPafConfig(backbone=name)
    for name in ("resnet50", "resnet101", "resnet152", "resnext50", "densenet121")
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        training_recipe(
            "pifpaf_resnet50_coco", _R50, COCO, default_for=("coco", "ochuman"),
            reported=(printed("coco", "val2017", 62.6, "dgcn:table06"),),
        ),
        training_recipe(
            "pifpaf_resnet101_coco", _R101, COCO,
            reported=(printed("coco", "val2017", 65.7, "dgcn:table06"),),
        ),
        training_recipe(
            "pifpaf_resnet152_coco", _R152, COCO,
            reported=(
                printed("coco", "val2017", 67.4, "dgcn:table06"),
                printed("coco", "test-dev2017", 66.7, "dgcn:table07"),
            ),
        ),
        training_recipe(
            "pifpaf_resnext50_coco", _X50, COCO,
            reported=(printed("coco", "val2017", 63.8, "dgcn:table05"),),
        ),
        training_recipe(
            "pifpaf_densenet121_coco", _D121, COCO,
            reported=(printed("coco", "val2017", 61.8, "dgcn:table05"),),
        ),
        training_recipe(
            "pifpaf_resnet50_crowdpose", _R50, CROWDPOSE, default_for=("crowdpose",),
            reported=(printed("crowdpose", "test", 56.3, "dgcn:table05"),),
        ),
        training_recipe("pifpaf_resnet50_mpii", _R50, MPII, default_for=("mpii",)),
        tiny_recipe("pifpaf_tiny", PifPafConfig(backbone="resnet_tiny")),
    )
}  # fmt: skip
