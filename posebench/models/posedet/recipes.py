"""PoseDet's configuration and training recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posebench.models.posedet.model import PoseDet
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from posebench.layers.backbones import HRNET_WIDTHS
from posebench.recipe import ModelConfig, Recipe, printed
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton
from posebench.structures import CropAugment, FitResize, Inference

PERSON_CELLS = 4  # published: minimum size in cells of a level's people; the maximum is twice that


@dataclass(frozen=True)
class Similarity:
    """OKS thresholds by which candidates are assigned to people; by default the published ones."""

    refined: float = 0.7  # minimum OKS of a candidate that is trained to refine a pose
    refined_at_best: float = 0.52  # minimum OKS of a person's best candidate, which is as well
    positive: float = 0.6  # minimum OKS of a positive of the score
    negative: float = 0.5  # OKS below which a candidate is negative; in between it is ignored

    def __post_init__(self) -> None:
        if not 0 <= self.negative <= self.positive <= 1:
            raise ValueError(
                "PoseDet's OKS thresholds must satisfy 0 <= negative <= positive <= 1, but "
                f"positive and negative are {self.positive:g} and {self.negative:g}."
            )


PUBLISHED = Similarity()


@dataclass(frozen=True)
class PoseDetConfig(ModelConfig):
    method: ClassVar[str] = "posedet"
    draw_score: ClassVar[float] = 0.54  # of best F1

    backbone: str = "dla34"
    width: int = 128  # channels of the pyramid and the heads
    refinement: bool = True  # Table 4; False: the network has no refinement branch
    read_coarse: bool = False  # Table 4, read differently: trained as usual, outputs coarse poses
    centroid: str = "keypoints"  # Table 5: a person's centre, the keypoints' mean or the "box"'s
    nms: str = "oks"  # Table 5: similarity in suppression, or "iou" of the boxes around keypoints
    nms_threshold: float = 0.2
    intermediate_supervision: bool = True  # Table 5: heatmaps of the pyramid, in training only
    # Initialization and targets: published by default, changed where training images are few.
    head_std: float = 0.01  # standard deviation of the heads' initial weights
    refined_width: int = 0  # channels of the refinement's embedding; 0: as many as the heads
    coarse_candidates: int = 1  # per person, nearest to its centre, trained on its coarse pose
    person_cells: int = PERSON_CELLS  # size in cells of a level's smallest people
    similarity: Similarity = PUBLISHED
    coarse_weight: float = 0.1  # weights of losses; the score's is 1
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
                    f"PoseDet's {name} must be one of {', '.join(choices)}, "
                    f"not {getattr(self, name)!r}."
                )
        for name, value in (("head_std", self.head_std), ("heatmap_sigma", self.heatmap_sigma)):
            if value <= 0:
                raise ValueError(f"PoseDet's {name} must be above 0, not {value:g}.")
        if self.refined_width < 0:
            raise ValueError(
                "PoseDet's refined_width must be the number of channels of the refinement's "
                f"embedding, or 0 for as many as the heads have, not {self.refined_width}."
            )
        if self.person_cells < 1:
            raise ValueError(
                "PoseDet's person_cells, the size in cells of a level's smallest people, must be "
                f"at least 1, not {self.person_cells}."
            )
        if self.coarse_candidates < 1:
            raise ValueError(
                "PoseDet's coarse_candidates, the number of candidates trained on a person's "
                f"coarse pose, must be at least 1, not {self.coarse_candidates}."
            )
        if self.width < 16 or self.width % 16 or (self.width > 128 and self.width % 32):
            raise ValueError(
                "PoseDet's width must be a multiple of 16, and of 32 above 128, so that channels "
                f"divide into the groups of group norm, but it is {self.width}."
            )

    def build(self, skeleton: Skeleton) -> PoseDet:
        from posebench.models.posedet.model import PoseDet

        return PoseDet(self, skeleton)


def _recipe(name: str, config: PoseDetConfig, size: int, long_side: int, **fields: Any) -> Recipe:
    """Return a released configuration; the paper has the same schedule for all."""
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
        # The paper reports no result on MPII; settings as on COCO.
        _recipe(
            "posedet_hrnet_w32_mpii", _W32, 512, 800, skeleton=MPII, default_for=("mpii",),
        ),
        Recipe(
            name="posedet_tiny",
            # With random weights and 4,000 images, the published initialization and thresholds
            # assign nearly no candidate to a person for thousands of steps; see docs/posedet.md.
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
