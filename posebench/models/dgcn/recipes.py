"""DGCN's configuration and training recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from posebench.models.dgcn.model import DGCN
from dataclasses import dataclass, replace
from typing import Literal, get_args

from posebench.models.pifpaf.recipes import (
    PifPafConfig,
    tiny_recipe,
    training_recipe,
)
from posebench.recipe import Reported, printed
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton

Adjacency = Literal["identity", "limbs", "soft", "dynamic"]


ADJACENCIES: tuple[str, ...] = get_args(Adjacency)


HEAD_STRIDES = {1: (16,), 2: (8, 16), 3: (4, 8, 16)}  # number of heads -> strides, finest first


ATTENTION_SHARE = 4  # divides the channels in the non-local layer


@dataclass(frozen=True)
class DGCNConfig(PifPafConfig):
    method: ClassVar[str] = "dgcn"
    draw_score: ClassVar[float] = 0.2  # of best F1, which is the same from 0.11 to 0.27

    adjacency: Adjacency = "dynamic"  # Table 1
    gamma: float = 0.5  # Table 2: scale of the soft adjacency; larger favours near keypoints more
    heads: int = 1  # Table 3: on F16; F16 and F8; F16, F8 and F4
    width: int = 512  # output channels of a module

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adjacency not in ADJACENCIES:
            raise ValueError(
                f"The adjacency must be one of {', '.join(ADJACENCIES)}, not {self.adjacency!r}."
            )
        if self.gamma <= 0:
            raise ValueError(f"DGCN's gamma must be above 0, not {self.gamma:g}.")
        if self.heads not in HEAD_STRIDES:
            raise ValueError(f"DGCN's heads must be 1, 2 or 3, not {self.heads}.")
        if self.width < ATTENTION_SHARE:
            raise ValueError(f"DGCN's width must be at least {ATTENTION_SHARE}, not {self.width}.")

    def build(self, skeleton: Skeleton) -> DGCN:
        from posebench.models.dgcn.model import DGCN

        return DGCN(self, skeleton)


_R50, _R101, _R152, _X50, _D121 = (
    DGCNConfig(backbone=name)
    for name in ("resnet50", "resnet101", "resnet152", "resnext50", "densenet121")
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        training_recipe(
            "dgcn_resnet50_coco", _R50, COCO, default_for=("coco", "ochuman"),
            reported=(printed("coco", "val2017", 64.6, "dgcn:table06"),),
        ),
        training_recipe(
            "dgcn_resnet50_2heads_coco", replace(_R50, heads=2), COCO,
            reported=(printed("coco", "val2017", 65.1, "dgcn:table03"),),
        ),
        training_recipe(
            "dgcn_resnet50_3heads_coco", replace(_R50, heads=3), COCO,
            reported=(printed("coco", "val2017", 65.2, "dgcn:table03"),),
        ),
        training_recipe(
            "dgcn_resnet101_coco", _R101, COCO,
            reported=(printed("coco", "val2017", 67.3, "dgcn:table06"),),
        ),
        training_recipe(
            "dgcn_resnet152_coco", _R152, COCO,
            reported=(
                printed("coco", "val2017", 68.8, "dgcn:table06"),
                printed("coco", "test-dev2017", 67.4, "dgcn:table07"),
            ),
        ),
        training_recipe(
            "dgcn_resnext50_coco", _X50, COCO,
            reported=(printed("coco", "val2017", 65.1, "dgcn:table05"),),
        ),
        training_recipe(
            "dgcn_densenet121_coco", _D121, COCO,
            reported=(printed("coco", "val2017", 63.6, "dgcn:table05"),),
        ),
        training_recipe(
            "dgcn_resnet50_crowdpose", _R50, CROWDPOSE, default_for=("crowdpose",),
            reported=(printed("crowdpose", "test", 59.1, "dgcn:table05"),),
        ),
        training_recipe(
            "dgcn_resnet50_mpii", _R50, MPII, default_for=("mpii",),
            reported=(Reported("mpii", "test", "PCKh@0.5", 81.2, "paper:dgcn:table08"),),
        ),
        # As wide as the backbone's map, so that fields are predicted from as many channels as
        # PifPaf's.
        tiny_recipe("dgcn_tiny", DGCNConfig(backbone="resnet_tiny", width=256)),
    )
}  # fmt: skip
