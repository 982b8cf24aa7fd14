"""ED-Pose's configuration, and the recipes that train it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from posebench.layers.backbones import RESNET_WEIGHTS, SWIN_WEIGHTS
from posebench.models.set_recipes import released_recipe, tiny_recipe
from posebench.recipe import ModelConfig, Recipe, Reported
from posebench.skeleton import COCO, CROWDPOSE, Skeleton

if TYPE_CHECKING:
    from posebench.models.ed_pose.model import EDPose


FirstCentres = Literal["own head", "first layer's head"]


@dataclass(frozen=True)
class Weights:
    """Weights of the loss terms and of the matching costs; by default the published ones."""

    classes: float = 2.0
    boxes: float = 5.0
    iou: float = 2.0
    keypoints: float = 10.0
    oks: float = 4.0
    # Of the noise queries' losses; they match nothing.
    noise_classes: float = 0.3
    noise_boxes: float = 2.5
    noise_iou: float = 1.0

    def __post_init__(self) -> None:
        if min(self.classes, self.boxes, self.iou, self.keypoints, self.oks) <= 0:
            raise ValueError(
                "ED-Pose's weights of classes, boxes, IoU, keypoints and OKS must be above 0, but "
                f"are {self.classes:g}, {self.boxes:g}, {self.iou:g}, {self.keypoints:g} and "
                f"{self.oks:g}."
            )


PUBLISHED = Weights()


@dataclass(frozen=True)
class EDPoseConfig(ModelConfig):
    """Sizes of the network."""

    method: ClassVar[str] = "ed_pose"
    draw_score: ClassVar[float] = 0.65  # of nearly the best F1, which is at 0.88

    backbone: str = "resnet50"
    frozen_backbone: bool = True  # a ResNet's batch norms, stem and first stage are not trained
    levels: int = 4  # of the pyramid, the coarsest of stride 64; 5: from stride 4
    channels: int = 256
    hidden: int = 2048  # of the feed-forward networks
    encoder_layers: int = 6
    box_layers: int = 2  # of the decoder, which detect people
    pose_layers: int = 4  # of the decoder, after them
    box_queries: int = 900  # M
    people: int = 100  # N, which the pose layers refine
    # What the first keypoint centres come from. As published: with COCO's keypoints a head of their
    # own, with CrowdPose's the head that the first pose layer refines centres with.
    first_centres: FirstCentres = "own head"
    noise_queries: int = 100  # Q, in training; 0: none
    weights: Weights = PUBLISHED  # of the losses and of the matching costs
    # Of the keypoint embeddings' initial values. A person's keypoint queries start alike but for
    # these, so that in a short training large ones tell keypoints apart earlier.
    embedding_gain: float = 1.0

    def __post_init__(self) -> None:
        choices: dict[str, Sequence[str]] = {
            "backbone": (*RESNET_WEIGHTS, *SWIN_WEIGHTS),
            "first_centres": get_args(FirstCentres),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"ED-Pose's {name} must be one of {', '.join(allowed)}, "
                    f"not {getattr(self, name)!r}."
                )
        least = {"hidden": 1, "encoder_layers": 1, "box_layers": 1, "box_queries": 1, "people": 1}
        # The sides of keypoint boxes are refined from one pose layer to the next.
        for name, count in {**least, "pose_layers": 2, "noise_queries": 0}.items():
            if getattr(self, name) < count:
                raise ValueError(
                    f"ED-Pose's {name} must be at least {count}, not {getattr(self, name)}."
                )
        if self.embedding_gain <= 0:
            raise ValueError(
                f"ED-Pose's embedding_gain must be above 0, not {self.embedding_gain:g}."
            )
        if self.levels not in (4, 5):
            raise ValueError(f"ED-Pose's levels must be 4 or 5, not {self.levels}.")
        if self.channels < 32 or self.channels % 32:
            raise ValueError(
                f"ED-Pose's channels must be a multiple of 32, but are {self.channels}."
            )

    def build(self, skeleton: Skeleton) -> EDPose:
        from posebench.models.ed_pose.model import EDPose

        return EDPose(self, skeleton)


def _recipe(name: str, skeleton: Skeleton, ap: float = 0.0, **fields: Any) -> Recipe:
    """Return one of the released configurations.

    CrowdPose's has no head of its own for the first keypoint centres.

    Args:
        name: of the backbone and its levels.
        skeleton: COCO's or CrowdPose's.
        ap: that the authors' README prints; 0: none.
        fields: further fields of the recipe.
    """
    crowd = skeleton is CROWDPOSE
    dataset = "crowdpose" if crowd else "coco"
    backbone = name.removesuffix("_5scale")
    config = EDPoseConfig(
        backbone=backbone,
        levels=4 if name == backbone else 5,
        first_centres="first layer's head" if crowd else "own head",
    )
    return released_recipe(
        f"ed_pose_{name}_{dataset}",
        config,
        skeleton,
        lr_drops=(75,) if crowd else (55,),
        # As published: noise losses are sums over a micro-batch, so its size weights them.
        micro_batch_size=4,
        ema_decay=0.9997,
        reported=(Reported(dataset, "test" if crowd else "val2017", "AP", ap, "released"),)
        if ap
        else (),
        **fields,
    )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _recipe("resnet50", COCO, 71.7, default_for=("coco", "ochuman")),
        # The published code builds Swin-T; the authors print no result.
        _recipe("swin_t", COCO),
        _recipe("swin_l", COCO, 74.3),
        # The authors' was trained to detect people on Objects365 before, by code that they have not
        # published.
        _recipe("swin_l_5scale", COCO, 75.8),
        _recipe("resnet50", CROWDPOSE, 69.9, default_for=("crowdpose",)),
        _recipe("swin_l", CROWDPOSE, 73.1),
        _recipe("swin_l_5scale", CROWDPOSE, 76.6),
        tiny_recipe(
            "ed_pose_tiny",
            # Group Pose's tiny network with a box layer before the pose layers. Classes weigh more
            # than there, or all people of an image keep the same score. docs/ed_pose.md has the
            # figures.
            EDPoseConfig(
                backbone="resnet_tiny", frozen_backbone=False, channels=128, hidden=256,
                encoder_layers=1, box_layers=1, pose_layers=2, box_queries=20, people=6,
                noise_queries=0, embedding_gain=10.0,
                weights=Weights(classes=3.0, boxes=2.0, iou=1.0, keypoints=1.0, oks=2.0),
            ),
            epochs=16,
            lr=1e-3,
        ),
    )
}  # fmt: skip
