"""DEKR's configuration, and the recipes that train it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from posebench.layers.backbones import HRNET_WIDTHS
from posebench.recipe import ModelConfig, Recipe, Reported, printed
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton
from posebench.structures import Augment, Inference, Resize

if TYPE_CHECKING:
    from posebench.models.dekr.model import DEKR

STRIDE = 4  # network-input pixels per cell of all maps


@dataclass(frozen=True)
class DEKRConfig(ModelConfig):
    method: ClassVar[str] = "dekr"
    draw_score: ClassVar[float] = 0.2  # of best F1, which is nearly the same from 0.08 to 0.25

    backbone: str = "hrnet_w32"
    channels: int = 15  # of each keypoint's own feature map
    blocks: int = 2  # adaptive blocks of a keypoint
    initial_std: float = 0.001  # of the initial weights of all convolutions but the adaptive ones
    # Where the taps of adaptive convolutions lie at first: all on the cell itself, as published, or
    # on the grid of a regular convolution, from which short trainings learn sooner.
    initial_taps: Literal["cell", "grid"] = "cell"
    centre_sigma: float = 4.0  # cells, of the Gaussian around a person's centre
    min_person_area: float = 32.0**2  # square image pixels; smaller people get no centre
    offset_weight: float = 0.03
    # Two poses are one person if more than `nms_keypoints` keypoints are closer than `nms_distance`
    # times the pose's diagonal; half of the keypoints where there are not so many.
    nms_distance: float = 0.05
    nms_keypoints: int = 8
    other_scale_factor: float = 0.9  # of the centre scores at other scales than 1
    match_peaks: bool = False  # move keypoints to peaks of the heatmaps, as the authors' option
    rescore: bool = False  # multiply scores by the OKS that the scoring net expects

    def __post_init__(self) -> None:
        if self.backbone not in HRNET_WIDTHS:
            raise ValueError(
                f"DEKR's backbone is one of {', '.join(HRNET_WIDTHS)}, not {self.backbone!r}."
            )
        if self.channels < 1:
            raise ValueError(f"DEKR has 1 or more channels per keypoint, not {self.channels}.")
        if self.blocks < 0:
            raise ValueError(f"DEKR has 0 or more adaptive blocks, not {self.blocks}.")
        if self.initial_taps not in ("cell", "grid"):
            raise ValueError(f"DEKR's initial_taps is cell or grid, not {self.initial_taps!r}.")

    def build(self, skeleton: Skeleton) -> DEKR:
        from posebench.models.dekr.model import DEKR

        return DEKR(self, skeleton)


def _recipe(
    name: str, config: DEKRConfig, *, skeleton: Skeleton, epochs: int, **fields: Any
) -> Recipe:
    """Return a released configuration: 40 images on four (W32) or eight (W48) GPUs."""
    wide = config.backbone == "hrnet_w48"
    size = 640 if wide else 512
    return Recipe(
        name=name,
        config=config,
        skeleton=skeleton,
        inference=Inference(Resize(short_side=size, rounding="dekr")),
        augment=Augment(size=size),
        epochs=epochs,
        lr_drops={140: (90, 120), 300: (200, 260)}[epochs],
        batch_size=40,
        micro_batch_size=5 if wide else 10,
        lr=1e-3,
        **fields,
    )


_COCO = DEKRConfig()
_CROWDPOSE = DEKRConfig(
    centre_sigma=2.0, min_person_area=0.0, nms_keypoints=7, other_scale_factor=0.8
)
_COCO_W48, _CROWDPOSE_W48 = (
    replace(config, backbone="hrnet_w48") for config in (_COCO, _CROWDPOSE)
)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _recipe(
            "dekr_hrnet_w32_coco", _COCO, skeleton=COCO, epochs=140, default_for=("coco",),
            reported=(
                Reported("coco", "val2017", "AP", 68.0, "released"),
                printed("coco", "test-dev2017", 67.3, "cid:table04"),
                printed("ochuman", "val", 37.9, "cid:table06"),
                printed("ochuman", "test", 36.5, "cid:table06"),
            ),
        ),
        _recipe(
            "dekr_hrnet_w48_coco", _COCO_W48, skeleton=COCO, epochs=140,
            reported=(
                Reported("coco", "val2017", "AP", 71.0, "released"),
                Reported("coco", "test-dev2017", "AP", 70.0, "released"),
            ),
        ),
        _recipe(
            "dekr_hrnet_w32_crowdpose", _CROWDPOSE, skeleton=CROWDPOSE, epochs=300,
            default_for=("crowdpose",),
            reported=(Reported("crowdpose", "test", "AP", 65.7, "released"),),
        ),
        _recipe(
            "dekr_hrnet_w48_crowdpose", _CROWDPOSE_W48, skeleton=CROWDPOSE, epochs=300,
            reported=(Reported("crowdpose", "test", "AP", 67.3, "released"),),
        ),
        # Trained on OCHuman's val split by CID's authors, who do not say how: as their own model.
        _recipe(
            "dekr_hrnet_w32_ochuman", _COCO, skeleton=COCO, epochs=140, default_for=("ochuman",),
            reported=(printed("ochuman", "test", 52.2, "cid:table06"),),
        ),
        # The paper has no result on MPII: trained as on COCO.
        _recipe(
            "dekr_hrnet_w32_mpii", _COCO, skeleton=MPII, epochs=140, default_for=("mpii",),
        ),
        Recipe(
            name="dekr_tiny",
            # With the published weight of the offsets, meant for 140 epochs of COCO, poses are
            # learned late, and adaptive blocks take most of a step on a CPU; see docs/dekr.md.
            config=DEKRConfig(
                backbone="hrnet_tiny", channels=8, blocks=1, initial_std=0.05, initial_taps="grid",
                centre_sigma=2.0, min_person_area=0.0, offset_weight=0.2, nms_keypoints=7,
                match_peaks=True,
            ),
            skeleton=None,
            default_for=("synthetic",),
            # Crops show people at about the scale of the test, at half the cost of whole images.
            inference=Inference(Resize(short_side=192, rounding="dekr")),
            augment=Augment(size=160, rotation_deg=5.0, scale=(0.7, 1.0), translation=20.0),
            epochs=5,
            batch_size=4,
            micro_batch_size=4,
            lr=3e-3,
            schedule="cosine",
            warmup_steps=200,
            clip_norm=10.0,
            ema_decay=0.995,
            evaluate_every=5,
            pretrained=False,
        ),
    )
}  # fmt: skip
