"""HigherHRNet's configuration, and the recipes that train it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from posebench.layers.backbones import HRNET_WIDTHS
from posebench.recipe import ModelConfig, Recipe, printed
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton
from posebench.structures import Augment, Inference, Resize

if TYPE_CHECKING:
    from posebench.models.higher_hrnet.model import HigherHRNet

STRIDE = 4  # of the backbone's map, from which the tags are read


@dataclass(frozen=True)
class HigherHRNetConfig(ModelConfig):
    method: ClassVar[str] = "higher_hrnet"
    draw_score: ClassVar[float] = 0.28  # of best F1

    backbone: str = "hrnet_w32"
    deconvolutions: int = 1  # Table 3: heatmaps at strides 4, 2 and 1; 0 is the HRNet baseline
    supervise_all: bool = True  # Table 4: losses at all resolutions, not only at the finest
    concatenate: bool = True  # Table 4: a deconvolution also reads the maps predicted before it
    aggregate: bool = True  # Table 4: people are read from the mean of all resolutions
    blocks: int = 4  # Table 4: residual blocks after a deconvolution
    push_weight: float = 0.001
    pull_weight: float = 0.001

    def __post_init__(self) -> None:
        if self.backbone not in HRNET_WIDTHS:
            raise ValueError(
                f"HigherHRNet's backbone is one of {', '.join(HRNET_WIDTHS)}, "
                f"not {self.backbone!r}."
            )
        if not 0 <= self.deconvolutions <= 2:
            raise ValueError(
                f"HigherHRNet has 0, 1 or 2 deconvolutions, not {self.deconvolutions}."
            )
        if self.blocks < 0:
            raise ValueError(f"HigherHRNet has 0 or more residual blocks, not {self.blocks}.")

    def build(self, skeleton: Skeleton) -> HigherHRNet:
        from posebench.models.higher_hrnet.model import HigherHRNet

        return HigherHRNet(self, skeleton)


def _recipe(name: str, size: int, *, images: int, skeleton: Skeleton, **fields: Any) -> Recipe:
    """Return a released configuration: four GPUs with `images` images each."""
    config = fields.pop("config")
    strides = tuple(STRIDE // 2**i for i in range(config.deconvolutions + 1))
    return Recipe(
        name=name,
        config=config,
        skeleton=skeleton,
        inference=Inference(Resize(short_side=size)),
        augment=Augment(size=size, mask_strides=strides),
        epochs=300,
        batch_size=4 * images,
        micro_batch_size=images,
        lr=1e-3,
        lr_drops=(200, 260),
        **fields,
    )


_W32, _W40, _W48 = (HigherHRNetConfig(backbone=f"hrnet_w{width}") for width in (32, 40, 48))
_BASELINE = replace(_W32, deconvolutions=0)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _recipe(
            "higher_hrnet_w32_coco", 512, images=12, config=_W32,
            skeleton=COCO, default_for=("coco", "ochuman"),
            reported=(
                printed("coco", "val2017", 67.1, "higherhrnet:table05"),
                printed("coco", "test-dev2017", 66.4, "higherhrnet:table01"),
            ),
        ),
        _recipe(
            "higher_hrnet_w32_640_coco", 640, images=12, config=_W32, skeleton=COCO,
            reported=(printed("coco", "val2017", 68.5, "higherhrnet:table05"),),
        ),
        _recipe(
            "higher_hrnet_w40_640_coco", 640, images=10, config=_W40, skeleton=COCO,
            reported=(printed("coco", "val2017", 69.2, "higherhrnet:table06"),),
        ),
        _recipe(
            "higher_hrnet_w48_640_coco", 640, images=10, config=_W48, skeleton=COCO,
            reported=(
                printed("coco", "val2017", 69.9, "higherhrnet:table06"),
                printed("coco", "test-dev2017", 68.4, "higherhrnet:table01"),
            ),
        ),
        _recipe(
            "higher_hrnet_w32_crowdpose", 512, images=12, config=_W32, skeleton=CROWDPOSE,
        ),
        _recipe(
            "higher_hrnet_w48_640_crowdpose", 640, images=10, config=_W48,
            skeleton=CROWDPOSE, default_for=("crowdpose",),
            reported=(printed("crowdpose", "test", 65.9, "higherhrnet:table07"),),
        ),
        # The paper has no result on MPII: trained as on COCO.
        _recipe(
            "higher_hrnet_w32_mpii", 512, images=12, config=_W32, skeleton=MPII,
            default_for=("mpii",),
        ),
        # The paper's bottom-up HRNet.
        _recipe(
            "higher_hrnet_baseline_w32_coco", 512, images=12, config=_BASELINE, skeleton=COCO,
            reported=(
                printed("coco", "val2017", 64.4, "higherhrnet:table03"),
                printed("coco", "test-dev2017", 64.1, "higherhrnet:table01"),
            ),
        ),
        _recipe(
            "higher_hrnet_baseline_w32_crowdpose", 512, images=12, config=_BASELINE,
            skeleton=CROWDPOSE,
        ),
        Recipe(
            name="higher_hrnet_tiny",
            # Heavier tag losses: the published weights, meant for 300 epochs, train tags slowly.
            config=HigherHRNetConfig(
                backbone="hrnet_tiny", blocks=1, push_weight=0.01, pull_weight=0.01
            ),
            skeleton=None,
            default_for=("synthetic",),
            inference=Inference(Resize(short_side=256)),
            augment=Augment(
                size=192, rotation_deg=5.0, scale=(0.6, 0.85), translation=20.0, mask_strides=(4, 2)
            ),
            epochs=7,
            batch_size=4,
            micro_batch_size=4,
            lr=3e-3,
            schedule="cosine",
            warmup_steps=200,
            evaluate_every=2,
            pretrained=False,
        ),
    )
}  # fmt: skip
