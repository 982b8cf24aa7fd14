"""Group Pose's configuration, and the recipes that train it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from posebench.layers.backbones import RESNET_WEIGHTS, SWIN_WEIGHTS
from posebench.models.set_recipes import released_recipe, tiny_recipe
from posebench.recipe import ModelConfig, Recipe, printed
from posebench.skeleton import COCO, CROWDPOSE, MPII, Skeleton

if TYPE_CHECKING:
    from posebench.models.group_pose.model import GroupPose

Queries = Literal["instance and keypoint", "keypoint", "instance"]
ScoreFrom = Literal["instance", "keypoint"]
Attention = Literal["group", "standard", "masked"]
Types = Literal["instance and keypoint", "keypoint", "instance"]


@dataclass(frozen=True)
class Weights:
    """Weights of the loss terms and of the matching costs; by default the published ones."""

    classes: float = 2.0
    keypoints: float = 10.0
    oks: float = 4.0

    def __post_init__(self) -> None:
        if min(self.classes, self.keypoints, self.oks) <= 0:
            raise ValueError(
                "Group Pose's weights of classes, keypoints and OKS must be above 0, but are "
                f"{self.classes:g}, {self.keypoints:g} and {self.oks:g}."
            )


PUBLISHED = Weights()


@dataclass(frozen=True)
class GroupPoseConfig(ModelConfig):
    """Sizes of the network, and what the paper's ablations vary."""

    method: ClassVar[str] = "group_pose"
    draw_score: ClassVar[float] = 0.39  # of best F1

    backbone: str = "resnet50"
    frozen_backbone: bool = True  # a ResNet's batch norms, stem and first stage are not trained
    channels: int = 256
    hidden: int = 2048  # of the feed-forward networks
    encoder_layers: int = 6
    decoder_layers: int = 6
    instances: int = 100  # N, Table 4c
    queries: Queries = "instance and keypoint"  # Table 4a
    score_from: ScoreFrom = "instance"  # Table 4b; "keypoint": from the keypoint queries' mean
    self_attention: Attention = "group"  # Table 4d; "masked": standard within groups
    within_instance: bool = True  # Table 4e
    across_instance: bool = True  # Table 4e
    across_types: Types = "instance and keypoint"  # Table A.2: that attend across people
    shared_attention: bool = False  # Table A.3: one module for both group attentions
    detection_layers: int = 0  # Table 5: number of decoder layers that detect boxes first
    detection_queries: int = 900
    weights: Weights = PUBLISHED  # of the losses and of the matching costs

    def __post_init__(self) -> None:
        choices: dict[str, Sequence[str]] = {
            "backbone": (*RESNET_WEIGHTS, *SWIN_WEIGHTS),
            "queries": get_args(Queries),
            "score_from": get_args(ScoreFrom),
            "self_attention": get_args(Attention),
            "across_types": get_args(Types),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"Group Pose's {name} must be one of {', '.join(allowed)}, "
                    f"not {getattr(self, name)!r}."
                )
        if self.score_from not in self.queries:
            raise ValueError(
                f"score_from={self.score_from} needs {self.score_from} queries, but "
                f"queries={self.queries}: set both alike."
            )
        for name in ("instances", "detection_queries", "hidden", "encoder_layers"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"Group Pose's {name} must be at least 1, not {getattr(self, name)}."
                )
        if not 0 <= self.detection_layers < self.decoder_layers:
            raise ValueError(
                "Group Pose's detection_layers must be at least 0 and below decoder_layers, "
                f"{self.decoder_layers}, but is {self.detection_layers}."
            )
        if self.channels < 32 or self.channels % 32:
            raise ValueError(
                f"Group Pose's channels must be a multiple of 32, but are {self.channels}."
            )

    @property
    def has_instance(self) -> bool:
        return "instance" in self.queries

    @property
    def has_keypoints(self) -> bool:
        return "keypoint" in self.queries

    @property
    def pose_layers(self) -> int:
        return self.decoder_layers - self.detection_layers

    def build(self, skeleton: Skeleton) -> GroupPose:
        from posebench.models.group_pose.model import GroupPose

        return GroupPose(self, skeleton)


def _recipe(name: str, config: GroupPoseConfig, skeleton: Skeleton, **fields: Any) -> Recipe:
    """Return one of the released configurations."""
    return released_recipe(
        name,
        config,
        skeleton,
        lr_drops=(70,) if skeleton is CROWDPOSE else (50,),
        micro_batch_size=1 if config.backbone == "swin_l" else 2,
        **fields,
    )


_R50, _SWIN_T, _SWIN_L = (GroupPoseConfig(backbone=b) for b in ("resnet50", "swin_t", "swin_l"))


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _recipe(
            "group_pose_resnet50_coco", _R50, COCO, default_for=("coco", "ochuman"),
            reported=(
                printed("coco", "val2017", 72.0, "grouppose:table01"),
                printed("coco", "test-dev2017", 70.2, "grouppose:table02"),
            ),
        ),
        _recipe(
            "group_pose_swin_t_coco", _SWIN_T, COCO,
            reported=(
                printed("coco", "val2017", 73.6, "grouppose:table01"),
                printed("coco", "test-dev2017", 72.1, "grouppose:table02"),
            ),
        ),
        _recipe(
            "group_pose_swin_l_coco", _SWIN_L, COCO,
            reported=(
                printed("coco", "val2017", 74.8, "grouppose:table01"),
                printed("coco", "test-dev2017", 72.8, "grouppose:table02"),
            ),
        ),
        _recipe("group_pose_resnet50_crowdpose", _R50, CROWDPOSE, default_for=("crowdpose",)),
        _recipe("group_pose_swin_t_crowdpose", _SWIN_T, CROWDPOSE),
        _recipe(
            "group_pose_swin_l_crowdpose", _SWIN_L, CROWDPOSE,
            reported=(printed("crowdpose", "test", 74.1, "grouppose:table03"),),
        ),
        # The paper has no MPII figure; trained as on COCO.
        _recipe("group_pose_resnet50_mpii", _R50, MPII, default_for=("mpii",)),
        tiny_recipe(
            "group_pose_tiny",
            # With the published weights, meant for 60 epochs of COCO, the keypoint loss is fifty
            # times the class loss at first: the network fits the mean pose, and learns to localise
            # people late. docs/group_pose.md has the figures.
            GroupPoseConfig(
                backbone="resnet_tiny", frozen_backbone=False, channels=128, hidden=256,
                encoder_layers=1, decoder_layers=2, instances=10,
                weights=Weights(classes=2.0, keypoints=1.0, oks=2.0),
            ),
            epochs=12,
            lr=5e-4,
        ),
    )
}  # fmt: skip
