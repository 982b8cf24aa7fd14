"""PoseDet's configuration, and the recipes that train it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posebench.models.posedet.model import PoseDet
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from posebench.layers.backbones import HRNET_WIDTHS
from posebench.recipe import ModelConfig, Recipe, printed
from posebench.structures import (
    COCO,
    CROWDPOSE,
    MPII,
    CropAugment,
    FitResize,
    Inference,
    Skeleton,
)

PERSON_CELLS = 4  # published: a person across so many cells, up to twice that, belongs to a level


@dataclass(frozen=True)
class Similarity:
    """OKS of coarse poses by which candidates are for a person; by default as published."""

    refined: float = 0.7  # from which a candidate is refined towards a person
    refined_at_best: float = 0.52  # and a person's best one
    positive: float = 0.6  # from which it is a person
    negative: float = 0.5  # and below which it is none

    def __post_init__(self) -> None:
        if not 0 <= self.negative <= self.positive <= 1:
            raise ValueError(
                "A candidate is a person from an OKS that is at least the one below which it is "
                f"none, both from 0 to 1, but they are {self.positive:g} and {self.negative:g}."
            )


PUBLISHED = Similarity()


@dataclass(frozen=True)
class PoseDetConfig(ModelConfig):
    method: ClassVar[str] = "posedet"

    backbone: str = "dla34"
    width: int = 128  # C of the pyramid and the heads
    refinement: bool = True  # Table 4; False: the network has no branch that refines
    read_coarse: bool = False  # Table 4, read otherwise: trained as usual, coarse poses are output
    centroid: str = "keypoints"  # Table 5: a person's centre is their mean, or that of its "box"
    nms: str = "oks"  # Table 5: or "iou", of the boxes around keypoints
    nms_threshold: float = 0.2
    intermediate_supervision: bool = True  # Table 5: heatmaps of the pyramid, in training only
    # How it starts and what it learns from; others than the published for few images.
    head_std: float = 0.01  # of the heads' initial weights
    refined_width: int = 0  # of the embedding that refines; 0: like the heads
    coarse_candidates: int = 1  # that learn a person's coarse pose, nearest to its centre
    person_cells: int = PERSON_CELLS  # across a person, up to twice as many, at its level
    similarity: Similarity = PUBLISHED
    coarse_weight: float = 0.1  # of the losses; the score's is 1
    refined_weight: float = 0.2
    heatmap_weight: float = 0.1
    heatmap_sigma: float = 2.0  # cells, at every level

    def __post_init__(self) -> None:
        backbones = ("dla34", *HRNET_WIDTHS)
        for name, choices in (
            ("backbone", backbones), ("centroid", ("keypoints", "box")), ("nms", ("oks", "iou")),
        ):  # fmt: skip
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"PoseDet's {name} is one of {', '.join(choices)}, not {getattr(self, name)!r}."
                )
        for name, value in (("head_std", self.head_std), ("heatmap_sigma", self.heatmap_sigma)):
            if value <= 0:
                raise ValueError(f"PoseDet's {name} is above 0, not {value:g}.")
        if self.refined_width < 0:
            raise ValueError(
                "PoseDet's refined_width is the number of channels of the embedding that refines, "
                f"or 0 for as many as the heads have, not {self.refined_width}."
            )
        if self.person_cells < 1:
            raise ValueError(
                "PoseDet's person_cells is at least 1, the cells across the smallest people of a "
                f"level, not {self.person_cells}."
            )
        if self.coarse_candidates < 1:
            raise ValueError(
                "PoseDet's coarse_candidates is at least 1, since nobody else learns coarse poses, "
                f"not {self.coarse_candidates}."
            )
        if self.width < 16 or self.width % 16 or (self.width > 128 and self.width % 32):
            raise ValueError(
                "PoseDet's width is a multiple of 16, and above 128 of 32, so that its channels "
                f"fall into groups, but it is {self.width}."
            )

    def build(self, skeleton: Skeleton) -> PoseDet:
        from posebench.models.posedet.model import PoseDet

        return PoseDet(self, skeleton)


def _recipe(name: str, config: PoseDetConfig, size: int, long_side: int, **fields: Any) -> Recipe:
    """Return one of the released configurations; the paper has one schedule for all."""
    skeleton: Skeleton = fields["skeleton"]
    threshold = 0.2 if skeleton is COCO else 0.3  # as released
    return Recipe(
        name=name,
        config=replace(config, nms_threshold=threshold),
        inference=Inference(FitResize(short_side=size, long_side=long_side), flip=False),
        augment=CropAugment(size=512),
        epochs=210,
        batch_size=48,  # Sec. 4.1: 6 on each of 8 GPUs
        micro_batch_size=6,
        lr=1e-4,
        lr_drops=(180, 200),
        warmup_steps=5,
        clip_norm=35.0,
        **fields,
    )


_DLA34 = PoseDetConfig()
_W32, _W48 = (PoseDetConfig(backbone=f"hrnet_w{width}", width=256) for width in (32, 48))


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _recipe(
            "posedet_dla34_coco", _DLA34, 512, 800, skeleton=COCO,
            reported=(printed("coco", "test-dev2017", 59.2, "posedet:table01"),),
        ),
        _recipe(
            "posedet_hrnet_w32_coco", _W32, 512, 800, skeleton=COCO,
            default_for=("coco", "ochuman"),
            reported=(printed("coco", "test-dev2017", 64.4, "posedet:table01"),),
        ),
        _recipe(
            "posedet_hrnet_w48_coco", _W48, 640, 1000, skeleton=COCO,
            reported=(printed("coco", "test-dev2017", 66.2, "posedet:table01"),),
        ),
        _recipe("posedet_dla34_crowdpose", _DLA34, 512, 800, skeleton=CROWDPOSE),
        _recipe(
            "posedet_hrnet_w48_crowdpose", _W48, 640, 1000, skeleton=CROWDPOSE,
            default_for=("crowdpose",),
            reported=(printed("crowdpose", "test", 65.9, "posedet:table04"),),
        ),
        # On MPII, for which the paper has no figure: as on COCO.
        _recipe(
            "posedet_hrnet_w32_mpii", _W32, 512, 800, skeleton=MPII, default_for=("mpii",),
        ),
        Recipe(
            name="posedet_tiny",
            # From random weights and 4,000 images, the published start and thresholds leave nearly
            # every candidate without a person for thousands of steps; docs/posedet.md.
            config=PoseDetConfig(
                backbone="hrnet_tiny", width=64, nms_threshold=0.3,
                head_std=0.05, refined_width=256, coarse_candidates=13, person_cells=8,
                similarity=Similarity(0.4, 0.2, positive=0.5, negative=0.4),
                coarse_weight=0.3, refined_weight=0.5, heatmap_weight=4.0, heatmap_sigma=1.0,
            ),
            skeleton=None,
            default_for=("synthetic",),
            inference=Inference(FitResize(short_side=192, long_side=384)),
            augment=CropAugment(size=160, scale=(1.2, 1.55)),
            epochs=7,
            batch_size=8,
            micro_batch_size=8,
            lr=2e-3,
            schedule="cosine",
            warmup_steps=200,
            clip_norm=35.0,
            ema_decay=0.995,
            evaluate_every=2,
            pretrained=False,
        ),
    )
}  # fmt: skip
