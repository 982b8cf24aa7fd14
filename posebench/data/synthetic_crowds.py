"""The dataset of synthetic crowds: generated images with exact annotations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from posebench.data.base import PoseDataset
from posebench.data.synthetic import LAYOUT
from posebench.errors import UsageError
from posebench.ground_truth import GroundTruth, Texts, texts_or_numbers
from posebench.skeleton import Skeleton
from posebench.structures import Poses, Protocol, Sample, box_corners
from posebench.synthetic.body import JOINTS
from posebench.synthetic.scene import Scene, draw_scene

_LENGTHS = {"train": 4000, "val": 200}


@dataclass(frozen=True)
class SyntheticCrowds(PoseDataset):
    """Synthetic crowds; an image is determined by the fields and its index.

    The images are the same for all keypoint sets.

    Raises:
        UsageError: a field is outside its range.
    """

    skeleton: Skeleton
    split: str = "train"  # "train" or "val", which have different images
    length: int = 0  # 0: 4000 for training, 200 for validation
    size: int = 256  # side of the images, pixels
    crowd: float = 0.1  # 0: one person; 1: up to fifteen, heavily overlapping
    lookalike: bool = False  # all people of an image wear the same clothes
    seed: int = 0

    name = LAYOUT.name

    # The protocol of the dataset with these keypoints; COCO's rules for other keypoint sets.
    protocol: Protocol = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = (p for p in LAYOUT.protocols if p.skeleton == self.skeleton)
        object.__setattr__(self, "protocol", next(known, Protocol(self.skeleton)))
        if self.split not in LAYOUT.splits:
            raise UsageError(
                f"{self.name} has no split {self.split!r}: choose one of "
                f"{', '.join(LAYOUT.splits)}."
            )
        if not 0 <= self.crowd <= 1:
            raise UsageError(f"Expected a crowd level between 0 and 1, but found {self.crowd}.")
        if self.size < 64:
            raise UsageError(f"Expected images of at least 64 pixels, but found {self.size}.")

    def __len__(self) -> int:
        return self.length or _LENGTHS[self.split]

    def load(self, index: int, *, pixels: bool = True) -> Sample:
        """Return one image with its people; without `pixels` it is black, which is faster.

        Raises:
            IndexError: the index is out of range.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"Expected an index below {len(self)}, but found {index}.")
        rng = np.random.default_rng([self.seed, LAYOUT.splits.index(self.split), index])
        scene = draw_scene(rng, self.size, self.crowd, lookalike=self.lookalike, pixels=pixels)
        return Sample(
            image=scene.image,
            poses=_poses(scene, self.protocol),
            image_id=index + 1,
            name=f"{self.split}/{index + 1:06d}.png",
        )

    def ground_truth(self) -> GroundTruth:
        samples = (self.load(index, pixels=False) for index in range(len(self)))
        return ground_truth_of(samples, self.protocol)

    def fingerprint(self) -> str:
        return repr(self)  # the fields determine the annotations

    def contents(self) -> str:
        # Not all that a skeleton has: it may have more in a later version.
        return (
            f"{self.skeleton.keypoints} {self.split} {len(self)} images of {self.size} px, "
            f"crowd {self.crowd}, lookalike {self.lookalike}, seed {self.seed}"
        )

    def labelled(self) -> list[int]:
        return list(range(len(self)))  # every image has people


def ground_truth_of(samples: Iterable[Sample], protocol: Protocol) -> GroundTruth:
    """Return the annotations of images whose people are all labelled."""
    skeleton = protocol.skeleton
    ids: list[int | str] = []
    names, sizes, crowding, poses = [], [], [], []
    for sample in samples:
        ids.append(sample.image_id)
        names.append(sample.name)
        sizes.append(sample.size)
        poses.append(sample.poses)
        known = protocol.crowd_index is not None
        crowding.append(crowd_index(sample.poses) if known else np.nan)
    everyone = Poses.joined(poses, len(skeleton))
    corner = everyone.boxes[:, 0]
    rows = torch.cat([everyone.keypoints, everyone.visibility[..., None]], -1)  # (N, K, 3)
    return GroundTruth(
        skeleton,
        texts_or_numbers(ids),
        Texts.of(names),
        np.array(sizes, np.int32).reshape(-1, 2),
        np.array(crowding, np.float64),
        np.repeat(np.arange(len(poses)), [len(one) for one in poses]),
        rows.numpy(),
        torch.cat([corner, everyone.boxes[:, 3] - corner], 1).numpy(),
        everyone.area.numpy(),
        np.zeros(len(everyone), np.bool_),
        ids=Texts.of(str(number) for number in range(1, len(everyone) + 1)),
        outlines=Texts.of([""] * len(everyone)),
    )


def crowd_index(poses: Poses) -> float:
    """Return the crowdIndex of an image; 0: people do not overlap.

    It is the mean, over the people, of the number of other people's keypoints in a person's box,
    divided by the number of the person's own keypoints there.

    Source: CrowdPose (arXiv:1812.00324), Eq. 1.
    """
    labelled = poses.visibility > 0  # (N, K)
    low, high = poses.boxes[:, 0], poses.boxes[:, 3]  # (N, 2) top left and bottom right
    keypoints = poses.keypoints[None]  # (1, N, K, 2) in each of (N, 1, 1, 2) boxes
    within = (keypoints >= low[:, None, None]) & (keypoints <= high[:, None, None])
    counts = (within.all(-1) & labelled[None]).sum(-1)  # (boxes, people)
    own = counts.diagonal()
    return float(((counts.sum(1) - own) / own.clamp(min=1)).mean())


# MPII's names of joints that synthetic bodies have under another name.
_ALSO_CALLED = {"head_top": "head", "upper_neck": "neck"}


def _poses(scene: Scene, protocol: Protocol) -> Poses:
    names = protocol.skeleton.keypoints
    rows = [JOINTS.index(_ALSO_CALLED.get(name, name)) for name in names]
    visibility = torch.from_numpy(scene.visibility[:, rows])
    keypoints = torch.from_numpy(scene.joints[:, rows].round(2))
    boxes = torch.from_numpy(scene.boxes)
    area = torch.from_numpy(scene.area)  # of the silhouettes
    if protocol.area_of_box is not None:
        area = protocol.area_of_box * boxes[:, 2] * boxes[:, 3]
    return Poses(keypoints * (visibility > 0)[..., None], visibility, area, box_corners(boxes))
