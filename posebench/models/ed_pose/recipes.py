"""ED-Pose's configuration, and the recipes that train it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from posebench.recipe import ModelConfig
from posebench.skeleton import Skeleton

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
    noise_queries: int = 100  # Q, in training
    weights: Weights = PUBLISHED  # of the losses and of the matching costs

    def build(self, skeleton: Skeleton) -> EDPose:
        from posebench.models.ed_pose.model import EDPose

        return EDPose(self, skeleton)
