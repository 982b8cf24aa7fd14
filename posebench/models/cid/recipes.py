"""CID's configuration, and the recipes that train it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from posebench.layers.backbones import HRNET_WIDTHS
from posebench.recipe import ModelConfig, Recipe, Reported, printed
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton
from posebench.structures import Augment, Inference, Resize

if TYPE_CHECKING:
    from posebench.models.cid.model import CID

STRIDE = 4  # network-input pixels per cell of the heatmaps


@dataclass(frozen=True)
class CIDConfig(ModelConfig):
    method: ClassVar[str] = "cid"
    draw_score: ClassVar[float] = 0.09  # of best F1

    backbone: str = "hrnet_w32"
    embedding: int = 32  # E, Table 2
    contrastive_weight: float = 1.0  # Table 1; 0 trains without Eq. 8
    spatial: bool = True  # Table 1, Eq. 9
    channel: bool = True  # Table 1, Eq. 11
    # Where in a cell the coordinates of Eq. 10 are taken: MMPose 1.x has 0.5, the authors 0.
    cell_centre: float = 0.0
    # MMPose 1.x moves fewer joints of the first rows and columns within their cell (`decoding.py`).
    strict_border: bool = False
    instance_weight: float = 4.0  # lambda of Eq. 5
    min_person_area: float = 32.0**2  # square input pixels; smaller people get no centre
    head_std: float = 0.001  # of the initial weights of the heads
    centre_pool: int = 3  # side of the mean filter in decoding
    nms_threshold: float = 0.8  # OKS above which the lower-scored of two people is dropped

    def __post_init__(self) -> None:
        if self.backbone not in HRNET_WIDTHS:
            raise ValueError(
                f"CID's backbone is one of {', '.join(HRNET_WIDTHS)}, not {self.backbone!r}."
            )
        if not (self.spatial or self.channel):
            raise ValueError("CID needs spatial or channel recalibration, or both; both are off.")

    def build(self, skeleton: Skeleton) -> CID:
        from posebench.models.cid.model import CID

        return CID(self, skeleton)


def _w48(config: CIDConfig) -> CIDConfig:
    return replace(config, backbone="hrnet_w48", embedding=48)


def _recipe(
    name: str,
    config: CIDConfig,
    size: int,
    epochs: int,
    lr_drops: tuple[int, int],
    *,
    skeleton: Skeleton,
    **fields: Any,
) -> Recipe:
    """Return a recipe as in Sec. 4.2 and in the released configurations, which agree."""
    batch = {"batch_size": 40, "micro_batch_size": 20}  # two GPUs, without synchronised batch norm
    return Recipe(
        name=name,
        config=config,
        skeleton=skeleton,
        inference=Inference(Resize(short_side=size)),
        augment=Augment(size=size),
        epochs=epochs,
        lr=1e-3,
        lr_drops=lr_drops,
        **{**batch, **fields},
    )


_COCO = CIDConfig()
_CROWDPOSE = CIDConfig(min_person_area=0.0)
_OCHUMAN = CIDConfig(nms_threshold=0.7)
# The released configuration for testing a model trained on COCO on OCHuman.
_COCO_ON_OCHUMAN = {"ochuman": ("nms_threshold=0.7", "centre_pool=11")}


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _recipe(
            "cid_hrnet_w32_coco", _COCO, 512, 140, (90, 120),
            skeleton=COCO, default_for=("coco",), test_overrides=_COCO_ON_OCHUMAN,
            reported=(
                Reported("coco", "val2017", "AP", 69.8, "released"),
                printed("coco", "test-dev2017", 68.9, "cid:table04"),
                printed("ochuman", "val", 44.9, "cid:table06"),
                printed("ochuman", "test", 44.0, "cid:table06"),
            ),
        ),
        # The paper tests W48 at 640 and does not say at which size it was trained.
        _recipe(
            "cid_hrnet_w48_coco", _w48(_COCO), 640, 140, (90, 120),
            skeleton=COCO, test_overrides=_COCO_ON_OCHUMAN,
            reported=(
                printed("coco", "test-dev2017", 70.7, "cid:table04"),
                printed("ochuman", "val", 46.1, "cid:table06"),
                printed("ochuman", "test", 45.0, "cid:table06"),
            ),
        ),
        _recipe(
            "cid_hrnet_w32_crowdpose", _CROWDPOSE, 512, 300, (200, 260),
            skeleton=CROWDPOSE, default_for=("crowdpose",),
            reported=(
                Reported("crowdpose", "test", "AP", 71.2, "released"),
                printed("crowdpose", "test", 71.3, "cid:table05"),
            ),
        ),
        _recipe(
            "cid_hrnet_w48_crowdpose", _w48(_CROWDPOSE), 640, 300, (200, 260),
            skeleton=CROWDPOSE,
            reported=(printed("crowdpose", "test", 72.3, "cid:table05"),),
        ),
        # Trained on OCHuman's val split. As we read the paper, on one GPU with a batch of 20.
        _recipe(
            "cid_hrnet_w32_ochuman", _OCHUMAN, 512, 140, (90, 120),
            skeleton=COCO, default_for=("ochuman",), batch_size=20,
            reported=(printed("ochuman", "test", 57.5, "cid:table06"),),
        ),
        # The paper does not state its test size; the other W48 models are tested at 640.
        _recipe(
            "cid_hrnet_w48_ochuman", _w48(_OCHUMAN), 640, 140, (90, 120),
            skeleton=COCO, batch_size=20,
            reported=(printed("ochuman", "test", 58.6, "cid:table06"),),
        ),
        # The paper has no result on MPII: trained as on COCO.
        _recipe(
            "cid_hrnet_w32_mpii", _COCO, 512, 140, (90, 120), skeleton=MPII, default_for=("mpii",),
        ),
        Recipe(
            name="cid_tiny",
            config=CIDConfig(
                backbone="hrnet_tiny", embedding=32, min_person_area=0.0, head_std=0.05
            ),
            skeleton=None,
            default_for=("synthetic",),
            # Crops show people at about the scale of the test, at half the cost of whole images.
            inference=Inference(Resize(short_side=256)),
            augment=Augment(size=192, rotation_deg=5.0, scale=(0.6, 0.85), translation=20.0),
            epochs=6,
            # Many small steps: on a CPU a batch of 4 costs little more than half of one of 8.
            batch_size=4,
            micro_batch_size=4,
            lr=3e-3,
            schedule="cosine",
            warmup_steps=200,
            clip_norm=10.0,
            evaluate_every=2,
            pretrained=False,
        ),
    )
}  # fmt: skip
