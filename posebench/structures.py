"""The values that flow through posebench, from an annotated image to predicted poses.

Shapes: B images, N people, K keypoints, H x W pixels. Coordinates are x, y in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from posebench.files import PERSON
from posebench.skeleton import Skeleton
from posebench.transfer import moved, pinned, to_device

# This module loads without torch, which skeletons and sizes do not need.
if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    import torch
    from numpy.typing import NDArray
    from torch import Tensor


# From a GroundTruth and Detections (`metrics.matching`) to fractions by name, the main one first,
# by which models are compared; -1: there was no ground truth to detect.
Metric = Callable[[Any, Any], Mapping[str, float]]


def _no_corners() -> Tensor:
    import torch

    return torch.zeros(0, 4, 2, dtype=torch.float64)


def _no_area() -> Tensor:
    import torch

    return torch.zeros(0, dtype=torch.float64)


@dataclass(frozen=True)
class Protocol:
    """The rules by which poses of a keypoint set are evaluated; by default those of COCO."""

    skeleton: Skeleton
    area_of_box: float | None = None  # a person's area relative to its box's; None: as annotated
    # crowdIndex at which images become medium and hard; None: results are split by people's size
    crowd_index: tuple[float, float] | None = None
    head_boxes: bool = False  # PCKh, where the annotations have head boxes
    separate: bool = False  # AP is the mean of those of the categories
    metric: Metric | None = None  # in place of all of these: the dataset's own


@dataclass(frozen=True)
class Poses:
    """The annotated people of one image, in that image's pixels.

    Coordinates are float64: targets truncate them to cells, and float32 would move a coordinate on
    a cell's edge into the neighbouring cell.
    """

    keypoints: Tensor  # (N, K, 2) x, y
    visibility: Tensor  # (N, K) 0 unlabelled, 1 occluded, 2 visible
    area: Tensor  # (N,) square pixels, the area that OKS divides by
    boxes: Tensor  # (N, 4, 2) corners: top left, top right, bottom left, bottom right
    # (U, 4, 2) box corners of people without any labelled keypoint
    unlabelled: Tensor = field(default_factory=_no_corners)
    # (U, 4, 2) box corners of crowd regions, whose people are not annotated individually
    crowds: Tensor = field(default_factory=_no_corners)
    # (U,) square pixels, of the people without any labelled keypoint
    unlabelled_area: Tensor = field(default_factory=_no_area)

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

    @classmethod
    def joined(cls, parts: Sequence[Poses], num_keypoints: int) -> Poses:
        """Return the labelled people of several images, in their own image's pixels."""
        import torch

        parts = [cls.empty(num_keypoints), *parts]
        return cls(
            *(
                torch.cat([getattr(part, name) for part in parts])
                for name in ("keypoints", "visibility", "area", "boxes")
            )
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
    """The predicted people of one image, in that image's pixels, best first; on the CPU."""

    keypoints: Tensor  # (N, K, 2) x, y
    keypoint_scores: Tensor  # (N, K)
    scores: Tensor  # (N,)
    skeleton: Skeleton | None = None  # names of the keypoints, where they are known
    draw_score: float | None = None  # pictures leave out people below it; None: not known

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

    def to_coco(self, image_id: int | str, category_id: int = PERSON) -> list[dict[str, Any]]:
        """Return the people as entries of a result file in COCO's format.

        Nothing is rounded, so that a written file scores to the last digit like these predictions.

        Args:
            image_id: of the image, in the annotations.
            category_id: of the people, in the annotations.
        """
        import torch

        scores = self.keypoint_scores[..., None].to(self.keypoints)
        keypoints = torch.cat([self.keypoints, scores], dim=-1)  # (N, K, 3)
        return [
            {
                "image_id": image_id,
                "category_id": category_id,
                "keypoints": triples,
                "score": score,
            }
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
    """The steps by which a model refined the people of one image, for drawing."""

    steps: Tensor  # (N, T, K, 2) image pixels: each keypoint's position, first step to last
    # (M, H, W), maximum 1: magnitude of the gradients of the best M people's scores
    reliance: Tensor
    to_image: Tensor  # (2, 3) float64, from network-input pixels to image pixels


@dataclass(frozen=True)
class Sample:
    """One image with its annotations, if it has any."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    poses: Poses = field(default_factory=lambda: Poses.empty(0))
    image_id: int | str = 0
    name: str = ""  # file name, for messages
    ignore: NDArray[np.bool_] | None = None  # (H, W) True where the loss is masked; None: nowhere

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True)
class Geometry:
    """Where the network inputs of a batch lie in their images; on the CPU, as few numbers are."""

    to_image: Tensor  # (B, 2, 3) float64, affine from network-input pixels to image pixels
    flipped: Tensor  # (B,) bool: mirrored after the warp (augmentation only)
    sizes: Tensor  # (B, 2) int64 width, height without the padding at the bottom right


@dataclass(frozen=True)
class Batch:
    """Images of one network size with everything a loss needs.

    Images and masks may be on a GPU; people and geometry, which are few numbers and decide on
    shapes, are on the CPU always.
    """

    images: Tensor  # (B, 3, H, W) float32, normalised with ImageNet's statistics, padding 0
    poses: list[Poses]  # in network-input pixels
    masks: dict[int, Tensor]  # stride -> (B, H / stride, W / stride) bool, True where loss counts
    geometry: Geometry
    image_ids: list[int | str]
    names: list[str]
    seeds: list[int]  # of each image, from (seed, epoch, image id), for random targets
    targets: Any = None  # those that a method has built where images are loaded; None: none

    def __len__(self) -> int:
        return len(self.images)

    @property
    def device(self) -> torch.device:
        return self.images.device

    @property
    def padding(self) -> Tensor | None:
        """(B, H, W) bool on the images' device, True on padding; None if no image is padded."""
        import torch

        height, width = self.images.shape[-2:]
        if bool((self.geometry.sizes == torch.tensor([width, height])).all()):
            return None
        [sizes] = to_device([self.geometry.sizes], self.device)
        own_width, own_height = sizes.unbind(1)
        beside = torch.arange(width, device=self.device) >= own_width[:, None]
        below = torch.arange(height, device=self.device) >= own_height[:, None]
        return below[:, :, None] | beside[:, None, :]

    def to(self, device: torch.device) -> Batch:
        """Return the batch with images, masks and targets on a device.

        A GPU gets the images in one copy and the rest in another, and Python waits for neither.
        """
        [images] = to_device([self.images], device)
        masks, targets = moved((self.masks, self.targets), device)
        return replace(self, images=images, masks=masks, targets=targets)

    def pin_memory(self) -> Batch:
        """Return the batch in memory from which `to` copies without packing and a wait."""
        masks, targets = pinned((self.masks, self.targets))
        return replace(self, images=pinned(self.images), masks=masks, targets=targets)


Rounding = Literal["authors", "dekr", "mmpose0", "mmpose1"]


@dataclass(frozen=True)
class Resize:
    """Test-time size: short side at `short_side`, both sides rounded up to a multiple.

    The image is warped by a centred affine map, so the border is split between opposite sides.
    """

    short_side: int
    multiple: int = 64
    # How sizes and centres become whole: as the authors of HigherHRNet and CID do it, as those of
    # DEKR, or as MMPose 0.x or 1.x (`layers.affine.resize_affine`). Texts show the size alone.
    rounding: Rounding = field(default="authors", repr=False)

    def __post_init__(self) -> None:
        if self.rounding not in get_args(Rounding):
            raise ValueError(
                f"rounding is one of {', '.join(get_args(Rounding))}, not {self.rounding!r}."
            )


@dataclass(frozen=True)
class DetrResize:
    """Test-time size: short side at `short_side`, or smaller so that `long_side` holds.

    Images are resized by Pillow, with antialiasing, and padded to the largest of their batch.
    """

    short_side: int
    long_side: int


@dataclass(frozen=True)
class FitResize:
    """Test-time size: the largest within `short_side` and `long_side`, padded to a multiple."""

    short_side: int
    long_side: int
    multiple: int = 32


@dataclass(frozen=True)
class FixedResize:
    """Test-time size of an exported network: scaled to fit, padded at the bottom right."""

    short_side: int
    long_side: int
    upright: bool = False  # whether the height is the long side

    @classmethod
    def of(cls, height: int, width: int) -> FixedResize:
        """Return the size of a height and a width."""
        return cls(min(height, width), max(height, width), upright=height > width)

    @property
    def bounds(self) -> tuple[int, int]:
        """Width and height."""
        sides = (self.long_side, self.short_side)
        return sides[::-1] if self.upright else sides


Resizing = Resize | DetrResize | FitResize | FixedResize


@dataclass(frozen=True)
class Augment:
    """Training-time warp of an image onto a square, random for every image and epoch."""

    size: int  # side of the network input, pixels
    rotation_deg: float = 30.0  # uniform in +-
    scale: tuple[float, float] = (0.75, 1.5)  # source square's side relative to the short side
    translation: float = 40.0  # uniform in +-, in units of 1/200 of the source square's side
    flip: float = 0.5  # probability
    mask_strides: tuple[int, ...] = (4,)

    def __post_init__(self) -> None:
        _check_size(self.size)


def _check_size(size: int) -> None:
    # One more: PifPaf's cells lie on pixels 0, 8, 16 and so on up to both borders.
    if size < 32 or size % 32 > 1:
        raise ValueError(
            f"Expected a size that is a multiple of 32, or one pixel more, but found {size}."
        )


@dataclass(frozen=True)
class DetrAugment:
    """Training-time mirror, crop and resize of DETR; inputs have no fixed size."""

    short_sides: tuple[int, ...] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    long_side: int = 1333
    crop: float = 0.5  # probability of a crop before the resize
    crop_short_sides: tuple[int, ...] = (400, 500, 600)  # to which the image is resized first
    crop_sides: tuple[int, int] = (384, 600)  # bounds of the crop's width and height
    flip: float = 0.5  # probability
    box_area: bool = False  # use box areas as people's areas, as published for CrowdPose

    def __post_init__(self) -> None:
        sides = (*self.short_sides, *self.crop_short_sides, *self.crop_sides)
        if not self.short_sides or not self.crop_short_sides or min(sides) < 1:
            raise ValueError(
                "Expected at least one short side each, all at least 1 pixel, but found "
                f"{self.short_sides} and {self.crop_short_sides}."
            )
        if self.crop_sides[0] > self.crop_sides[1]:
            raise ValueError(
                f"Expected crop_sides as (smallest, largest), but found {self.crop_sides}."
            )
        if self.long_side < max(self.short_sides):
            raise ValueError(
                f"Expected a long_side of at least {max(self.short_sides)}, the largest of "
                f"short_sides, but found {self.long_side}."
            )


@dataclass(frozen=True)
class CropAugment:
    """Training-time crop of PoseDet: a square around one of the people with most keypoints."""

    size: int  # side of the network input, pixels
    scale: tuple[float, float] = (0.5, 1.5)  # side of the source square over `size`, uniform
    flip: float = 0.5  # probability

    def __post_init__(self) -> None:
        _check_size(self.size)


# `data.transforms` has a function for each.
Augmentation = Augment | DetrAugment | CropAugment


@dataclass(frozen=True)
class Inference:
    """Test settings: the input size, and the views whose predictions are merged."""

    resize: Resizing
    flip: bool = True  # merge with the predictions on the mirrored image, as the paper does
    scales: tuple[float, ...] = (1.0,)  # of the input size, merged likewise

    def __post_init__(self) -> None:
        if len(self.scales) == 0 or min(self.scales) <= 0:
            raise ValueError(
                f"Expected at least one scale, and all scales above 0, but found {self.scales}."
            )

    @property
    def label(self) -> str:
        """The views as result tables name them."""
        views = ["flip"] if self.flip else []
        if self.scales != (1.0,):
            views.append("scales " + ",".join(f"{scale:g}" for scale in self.scales))
        return " + ".join(views) or "none"


@dataclass(frozen=True)
class KeypointStatistics:
    """Mean distances between keypoints, and their mean places, relative to people's size."""

    distances: NDArray[np.float64]  # (K, K), 0 on the diagonal
    pose: NDArray[np.float64]  # (K, 2) from the box's centre, y up; 0 if never labelled
    pairs: NDArray[np.int64]  # (K, K) number of people on whom both are labelled
    people: int  # number of people with at least two labelled keypoints


@dataclass(frozen=True)
class PaperTiming:
    """How a paper measured its times; without flip and one image at a time."""

    source: str  # the table or section that describes the measurement
    sizes: tuple[tuple[int, int], ...] = ()  # H, W of inputs; empty: the recipe's test size
    square: bool = False  # square inputs with the recipe's short side
    decoded: bool = False  # whether the times include decoding
