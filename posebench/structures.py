"""The values that flow through posebench, from an annotated image to predicted poses.

Shapes: B images, N people, K keypoints, H x W pixels. Coordinates are x, y in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from posebench.files import PERSON

# Names, sizes and skeletons are read without torch; the functions that need it import it.
if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Skeleton:
    """A keypoint set: what a dataset annotates and a model predicts."""

    name: str
    keypoints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]  # pairs of keypoint indices, for drawing
    sigmas: tuple[float, ...]  # OKS fall-off per keypoint, relative to sqrt(area)

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def flip_index(self) -> tuple[int, ...]:
        """For each keypoint, the index of its mirror image: left and right change places."""
        return tuple(self.keypoints.index(_mirrored(name)) for name in self.keypoints)


def _mirrored(name: str) -> str:
    side, _, part = name.partition("_")
    other = {"left": "right", "right": "left"}.get(side)
    return f"{other}_{part}" if other else name


def _limbs(keypoints: tuple[str, ...], pairs: str) -> tuple[tuple[int, int], ...]:
    """Read `a-b c-d`; a pair of plain part names stands for its left and its right limb."""
    limbs = []
    for pair in pairs.split():
        ends = pair.split("-")
        sided = [f"left_{end}" in keypoints for end in ends]
        for side in ("left_", "right_") if any(sided) else ("",):
            names = [side + end if s else end for end, s in zip(ends, sided, strict=True)]
            limbs.append((keypoints.index(names[0]), keypoints.index(names[1])))
    return tuple(limbs)


_COCO_KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip

COCO = Skeleton(
    name="coco",
    keypoints=_COCO_KEYPOINTS,
    limbs=(
        *_limbs(_COCO_KEYPOINTS, "nose-eye eye-ear shoulder-elbow elbow-wrist shoulder-hip"),
        *_limbs(_COCO_KEYPOINTS, "hip-knee knee-ankle"),
        (5, 6),
        (11, 12),
    ),
    sigmas=(
        0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
        0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
    ),
)  # fmt: skip

_CROWDPOSE_KEYPOINTS = (
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "head", "neck",
)  # fmt: skip

CROWDPOSE = Skeleton(
    name="crowdpose",
    keypoints=_CROWDPOSE_KEYPOINTS,
    limbs=(
        *_limbs(_CROWDPOSE_KEYPOINTS, "head-neck neck-shoulder shoulder-elbow elbow-wrist"),
        *_limbs(_CROWDPOSE_KEYPOINTS, "shoulder-hip hip-knee knee-ankle"),
        (6, 7),
    ),
    sigmas=(
        0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
        0.079, 0.079,
    ),
)  # fmt: skip

_MPII_KEYPOINTS = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "pelvis", "thorax", "upper_neck", "head_top",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip

MPII = Skeleton(
    name="mpii",
    keypoints=_MPII_KEYPOINTS,
    limbs=(
        *_limbs(_MPII_KEYPOINTS, "head_top-upper_neck upper_neck-thorax thorax-pelvis"),
        *_limbs(_MPII_KEYPOINTS, "thorax-shoulder shoulder-elbow elbow-wrist"),
        *_limbs(_MPII_KEYPOINTS, "pelvis-hip hip-knee knee-ankle"),
    ),
    # MPII publishes none, as it is evaluated by PCKh; methods need them to match people in
    # training. Limbs as in COCO, neck and head as in CrowdPose, the trunk's ends like their joints:
    # pelvis as the hips, thorax as the shoulders.
    sigmas=(
        0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.107, 0.079, 0.079, 0.079,
        0.062, 0.072, 0.079, 0.079, 0.072, 0.062,
    ),
)  # fmt: skip

SKELETONS = {skeleton.name: skeleton for skeleton in (COCO, CROWDPOSE, MPII)}


def _no_corners() -> Tensor:
    import torch

    return torch.zeros(0, 4, 2, dtype=torch.float64)


@dataclass(frozen=True)
class Poses:
    """The annotated people of one image, in that image's pixels.

    Coordinates are float64: targets truncate them to cells, and float32 would put a coordinate
    that lies on a cell's edge into its neighbour.
    """

    keypoints: Tensor  # (N, K, 2) x, y
    visibility: Tensor  # (N, K) 0 unlabelled, 1 occluded, 2 visible
    area: Tensor  # (N,) square pixels, the area that OKS divides by
    boxes: Tensor  # (N, 4, 2) corners: top left, top right, bottom left, bottom right
    # (U, 4, 2) corners of the boxes of further people, none of whose keypoints is labelled
    unlabelled: Tensor = field(default_factory=_no_corners)
    # (U, 4, 2) corners of the boxes of crowd regions, whose people are not annotated one by one
    crowds: Tensor = field(default_factory=_no_corners)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __getitem__(self, index: Tensor | slice) -> Poses:
        return replace(
            self,
            keypoints=self.keypoints[index],
            visibility=self.visibility[index],
            area=self.area[index],
            boxes=self.boxes[index],
        )

    def to(self, device: torch.device) -> Poses:
        return Poses(
            self.keypoints.to(device),
            self.visibility.to(device),
            self.area.to(device),
            self.boxes.to(device),
            self.unlabelled.to(device),
            self.crowds.to(device),
        )

    @classmethod
    def empty(cls, num_keypoints: int) -> Poses:
        """Return the poses of an image without people."""
        import torch

        return cls(
            torch.zeros(0, num_keypoints, 2, dtype=torch.float64),
            torch.zeros(0, num_keypoints, dtype=torch.int64),
            torch.zeros(0, dtype=torch.float64),
            _no_corners(),
        )


def box_corners(boxes_xywh: Tensor) -> Tensor:
    """Return the (N, 4, 2) corners of (N, 4) boxes x, y, width, height."""
    import torch

    x, y, width, height = boxes_xywh.unbind(-1)
    right, bottom = x + width, y + height
    corners = [(x, y), (right, y), (x, bottom), (right, bottom)]
    return torch.stack([torch.stack(corner, -1) for corner in corners], -2)


@dataclass(frozen=True)
class PosePredictions:
    """The predicted people of one image, in that image's pixels, best first."""

    keypoints: Tensor  # (N, K, 2) x, y
    keypoint_scores: Tensor  # (N, K)
    scores: Tensor  # (N,)
    skeleton: Skeleton | None = None  # names of the keypoints, where they are known

    def __len__(self) -> int:
        return len(self.keypoints)

    def __getitem__(self, index: Tensor | slice) -> PosePredictions:
        return replace(
            self,
            keypoints=self.keypoints[index],
            keypoint_scores=self.keypoint_scores[index],
            scores=self.scores[index],
        )

    def to_dataframe(self) -> pd.DataFrame:
        """Return the people as a table with a row for each keypoint.

        Returns:
            Columns person (from 0, best first), score, keypoint (its name, or its number where
            names are not known), x, y (pixels) and keypoint_score.
        """
        import numpy as np
        import pandas as pd

        people, count = self.keypoint_scores.shape
        names = list(self.skeleton.keypoints if self.skeleton else range(count))
        x, y = self.keypoints.reshape(-1, 2).double().cpu().numpy().T
        return pd.DataFrame(
            {
                "person": np.repeat(np.arange(people), count),
                "score": self.scores.double().cpu().numpy().repeat(count),
                "keypoint": names * people,
                "x": x,
                "y": y,
                "keypoint_score": self.keypoint_scores.flatten().double().cpu().numpy(),
            }
        )

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """Return the people as entries of a result file in COCO's format.

        Nothing is rounded, so that a written file scores to the last digit like these predictions.
        """
        import torch

        scores = self.keypoint_scores[..., None].to(self.keypoints)
        keypoints = torch.cat([self.keypoints, scores], dim=-1)  # (N, K, 3)
        return [
            {"image_id": image_id, "category_id": PERSON, "keypoints": triples, "score": score}
            for triples, score in zip(
                keypoints.flatten(1).tolist(), self.scores.tolist(), strict=True
            )
        ]


@dataclass(frozen=True)
class Heatmaps:
    """The maps that the people of one image were read from, for drawing."""

    scene: dict[str, Tensor]  # name -> (H, W) in [0, 1], of the image as a whole
    people: Tensor  # (N, K, H, W) in [0, 1], of each predicted person
    stride: int  # network-input pixels per cell
    to_image: Tensor  # (2, 3) float64, from network-input pixels to image pixels


@dataclass(frozen=True)
class Trace:
    """How a model came to the people of one image, step by step, for drawing."""

    steps: Tensor  # (N, T, K, 2) image pixels: where it expected each keypoint, first to last
    reliance: Tensor  # (M, H, W) highest 1: how the scores of the best M depend on each pixel
    to_image: Tensor  # (2, 3) float64, from network-input pixels to image pixels


@dataclass(frozen=True)
class Sample:
    """One image with its annotations, if it has any."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    poses: Poses = field(default_factory=lambda: Poses.empty(0))
    image_id: int = 0
    name: str = ""  # file name, for messages
    ignore: NDArray[np.bool_] | None = None  # (H, W) True where no loss is taken; None: nowhere

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True)
class Geometry:
    """How the network inputs of a batch lie over their images."""

    to_image: Tensor  # (B, 2, 3) float64, affine from network-input pixels to image pixels
    flipped: Tensor  # (B,) bool: mirrored left to right after the warp (augmentation only)
    sizes: Tensor  # (B, 2) int64 width, height; what is right of them and below is padding

    def to(self, device: torch.device) -> Geometry:
        return Geometry(self.to_image.to(device), self.flipped.to(device), self.sizes.to(device))


@dataclass(frozen=True)
class Batch:
    """Images of one network size with everything a loss needs."""

    images: Tensor  # (B, 3, H, W) float32, normalised with ImageNet's statistics, padding 0
    poses: list[Poses]  # in network-input pixels
    masks: dict[int, Tensor]  # stride -> (B, H / stride, W / stride) bool, True where loss counts
    geometry: Geometry
    image_ids: list[int]
    names: list[str]
    seeds: list[int]  # one per image, from (seed, epoch, image id): for draws that targets need

    def __len__(self) -> int:
        return len(self.images)

    @property
    def padding(self) -> Tensor | None:
        """(B, H, W) bool, True on padding; None where no image has any."""
        import torch

        height, width = self.images.shape[-2:]
        own_width, own_height = self.geometry.sizes.unbind(1)
        if bool((own_width == width).all() and (own_height == height).all()):
            return None
        beside = torch.arange(width, device=own_width.device) >= own_width[:, None]
        below = torch.arange(height, device=own_width.device) >= own_height[:, None]
        return below[:, :, None] | beside[:, None, :]

    def to(self, device: torch.device) -> Batch:
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            poses=[poses.to(device) for poses in self.poses],
            masks={stride: mask.to(device) for stride, mask in self.masks.items()},
            geometry=self.geometry.to(device),
        )


@dataclass(frozen=True)
class Resize:
    """Test-time size: short side to `short_side`, both sides up to multiples of `multiple`.

    The image is warped by a centred affine map, so that the border is shared by both sides.
    """

    short_side: int
    multiple: int = 64


@dataclass(frozen=True)
class DetrResize:
    """Test-time size: short side to `short_side`, unless the long one would exceed `long_side`.

    Pixels are Pillow's, with antialiasing. Images of a batch are padded to the largest.
    """

    short_side: int
    long_side: int


@dataclass(frozen=True)
class FitResize:
    """Test-time size: as large as fits `short_side` and `long_side`, padded to a multiple."""

    short_side: int
    long_side: int
    multiple: int = 32


Resizing = Resize | DetrResize | FitResize


@dataclass(frozen=True)
class Augment:
    """Training-time warp of an image onto a square, drawn at random for every image and epoch."""

    size: int  # side of the network input, pixels
    rotation_deg: float = 30.0  # uniform in +-
    scale: tuple[float, float] = (0.75, 1.5)  # side of the source square over the short side
    translation: float = 40.0  # of 200 units of the source square's side, uniform in +-
    flip: float = 0.5  # probability
    mask_strides: tuple[int, ...] = (4,)

    def __post_init__(self) -> None:
        _check_size(self.size)


def _check_size(size: int) -> None:
    # One more, where cells lie on pixels 0, 8, 16 and so on to both borders.
    if size < 32 or size % 32 > 1:
        raise ValueError(
            f"Networks take sizes that are a multiple of 32, or one pixel more, but size is {size}."
        )


@dataclass(frozen=True)
class DetrAugment:
    """Training-time mirror, crop and resize of DETR; the network's input has no fixed size."""

    short_sides: tuple[int, ...] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    long_side: int = 1333
    crop: float = 0.5  # probability of a crop before the resize
    crop_short_sides: tuple[int, ...] = (400, 500, 600)  # of the image that is cropped
    crop_sides: tuple[int, int] = (384, 600)  # bounds of the crop's width and of its height
    flip: float = 0.5  # probability
    box_area: bool = False  # a person's area is its box's, as published for CrowdPose

    def __post_init__(self) -> None:
        sides = (*self.short_sides, *self.crop_short_sides, *self.crop_sides)
        if not self.short_sides or not self.crop_short_sides or min(sides) < 1:
            raise ValueError(f"Sides of images are at least 1, and at least one each: {sides}.")
        if self.crop_sides[0] > self.crop_sides[1]:
            raise ValueError(f"crop_sides is the least and the largest, not {self.crop_sides}.")
        if self.long_side < max(self.short_sides):
            raise ValueError(
                f"long_side is at least the largest of short_sides, not {self.long_side}."
            )


@dataclass(frozen=True)
class CropAugment:
    """Training-time crop of PoseDet: a square around one of the people with most keypoints."""

    size: int  # side of the network input, pixels
    scale: tuple[float, float] = (0.5, 1.5)  # side of the source square over `size`, uniform
    flip: float = 0.5  # probability

    def __post_init__(self) -> None:
        _check_size(self.size)


# One type for each way to augment; `data.transforms` has a function for each.
Augmentation = Augment | DetrAugment | CropAugment


@dataclass(frozen=True)
class Inference:
    """How images are shown to a model at test time."""

    __test__ = False  # not a test class, whatever pytest makes of its name

    resize: Resizing
    flip: bool = True  # also predict on the mirrored image and merge, as the method's paper does
    scales: tuple[float, ...] = (1.0,)  # of the short side, merged in the same way

    def __post_init__(self) -> None:
        if len(self.scales) == 0 or min(self.scales) <= 0:
            raise ValueError(f"Scales are above 0, and at least one, not {self.scales}.")

    @property
    def label(self) -> str:
        """What result tables call it."""
        views = ["flip"] if self.flip else []
        if self.scales != (1.0,):
            views.append("scales " + ",".join(f"{scale:g}" for scale in self.scales))
        return " + ".join(views) or "none"


@dataclass(frozen=True)
class KeypointDistances:
    """How far apart keypoints lie on people, as a share of the people's size."""

    mean: NDArray[np.float64]  # (K, K), 0 on the diagonal
    pairs: NDArray[np.int64]  # (K, K) people of whom both are labelled
    people: int  # of whom at least two keypoints are labelled


@dataclass(frozen=True)
class PaperTiming:
    """How a paper took the times that it prints; without mirror and one image at a time."""

    source: str  # where it says so
    sizes: tuple[tuple[int, int], ...] = ()  # H, W of inputs; none: as the recipe resizes
    square: bool = False  # the recipe's short side on both sides
    decoded: bool = False  # whether the time includes what follows the network
