"""What an analysis of a result file finds, as plain values and arrays.

AP, costs and shares are fractions. Rows of `detections` are the detections that are evaluated, in
the order of the file; rows of `people` are the annotations, in the order of the ground truth.

Shapes: D evaluated detections, N annotations, J labelled keypoints of localised people, T OKS
thresholds, P recall points, B bins, R resamples of the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from posebench.bench.statistics import Interval
from posebench.metrics.matching import Flags, Floats, Indices

if TYPE_CHECKING:
    import pandas as pd

Codes = NDArray[np.int8]

# Errors in the order in which the published analysis mends them, each on top of the one before.
KINDS = ("miss", "swap", "inversion", "jitter", "score", "background", "missed")
# Further errors, which are only mended alone.
ALONE_KINDS = ("duplicate", "localisation")

# Classes of a predicted keypoint; `JointRecords.kind` has their numbers.
CLASSES = ("good", "jitter", "inversion", "swap", "miss", "absent")
GOOD, JITTER, INVERSION, SWAP, MISS, ABSENT = range(len(CLASSES))

# Kinds of a detection at an OKS threshold; `DetectionRecords.kind_50` has their numbers.
DETECTION_KINDS = ("true", "duplicate", "localisation", "background", "ignored")
TRUE, DUPLICATE, LOCALISATION, BACKGROUND, IGNORED = range(len(DETECTION_KINDS))

QUANTILES = (0.5, 0.75, 0.9, 0.95)  # of distances
OKS_QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75)  # of similarities: the low ones are the bad ones
SIZES = ("all", "small", "medium", "large")  # below 32^2, up to 96^2 and beyond, in square pixels


@dataclass(frozen=True)
class ErrorCost:
    """How often an error occurs, and what AP would be without it."""

    kind: str  # one of KINDS or ALONE_KINDS
    mode: str  # "progressive": mended after those before it; "alone": mended in the original file
    # Keypoints; of "score" people whose best pose has not the highest score; of "background",
    # "duplicate" and "localisation" detections, and of "missed" people, at OKS 0.5.
    count: int
    ap_after: float
    cost: Interval  # what mending gains; low and high are nan without resamples
    by_threshold: Floats  # (T,) AP after
    samples: Floats | None = None  # (R,) the cost in each resample; the same resamples for all


@dataclass(frozen=True)
class KeypointErrors:
    """How well one keypoint is located, over all people found at OKS 0.1."""

    keypoint: str
    shares: dict[str, int]  # number of keypoints of each class of CLASSES
    oks: tuple[float, ...]  # similarity at OKS_QUANTILES, nan without any
    pixels: dict[str, tuple[float, ...]]  # size -> distance at QUANTILES; keys are SIZES
    relative: tuple[float, ...]  # distance / sqrt(area) at QUANTILES

    @property
    def count(self) -> int:
        """Number of labelled keypoints of people who were found."""
        return sum(self.shares.values())


@dataclass(frozen=True, eq=False)
class JointRecords:
    """Each labelled keypoint of the people found at OKS 0.1, who are not ignored."""

    detection: Indices  # (J,) row of `detections`
    person: Indices  # (J,) row of `people`
    keypoint: Indices  # (J,) index into the skeleton
    kind: Codes  # (J,) index into CLASSES
    similarity: Floats  # (J,) with the person's own keypoint
    similarity_after: Floats  # (J,) after mending
    pixels: Floats  # (J,) distance from the person's own keypoint
    # Where it lies: on its own keypoint, on another of the same person or on somebody else's.
    at_person: Indices  # (J,) row of `people`; -1: near none
    at_keypoint: Indices  # (J,) index into the skeleton; -1: near none

    def __len__(self) -> int:
        return len(self.detection)


@dataclass(frozen=True, eq=False)
class DetectionRecords:
    """Each evaluated detection: of each image the 20 with the highest scores."""

    image: Indices  # (D,) index into the ground truth's images
    position: Indices  # (D,) index into the given detections
    score: Floats  # (D,)
    best_oks: Floats  # (D,) with any person who is not ignored; 0 if there is none
    person: Indices  # (D,) row of `people` that it is matched with at OKS 0.1; -1: nobody
    oks: Floats  # (D,) with that person; 0 if there is none
    kind_50: Codes  # (D,) index into DETECTION_KINDS at OKS 0.5
    kind_75: Codes  # (D,) at OKS 0.75
    optimal_score: Floats  # (D,) its best OKS after soft suppression

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True, eq=False)
class PersonRecords:
    """Each annotation, also those that are ignored."""

    image: Indices  # (N,) index into the ground truth's images
    area: Floats  # (N,) square pixels, by which OKS divides
    labelled: Indices  # (N,) number of labelled keypoints that count
    overlaps: Indices  # (N,) boxes of the image with IoU above 0.1
    crowd_index: Floats  # (N,) of the image, nan where the file has none
    found_at: Floats  # (N,) highest OKS threshold at which somebody found the person; 0: none
    truncated: Flags  # (N,) the box touches the image border; False where the size is not known
    ignored: Flags  # (N,) a crowd region, or without a keypoint that counts

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True)
class BestThreshold:
    """The score above which detections are to be kept for the highest F1."""

    oks: float  # the threshold of OKS that makes a detection true
    score: float  # keep detections with at least this score; nan without detections
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """What scores say about quality: bins of about equally many detections, by score.

    Detections that are matched with ignored people are left out.
    """

    low: Floats  # (B,) lowest score of the bin
    high: Floats  # (B,) highest score
    score: Floats  # (B,) mean score
    oks: Floats  # (B,) mean of the best OKS
    true_50: Floats  # (B,) share of detections that are true at OKS 0.5
    true_75: Floats  # (B,) at OKS 0.75
    count: Indices  # (B,)
    # Mean distance of a bin's mean score from its mean OKS; nan for scores outside of [0, 1].
    expected_error: float
    # The same after scores were mapped by a monotonic function, fitted on the other half of images.
    expected_error_fitted: float
    best: tuple[BestThreshold, ...]  # at OKS 0.5 and 0.75


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision at 101 recall points, with the band of a bootstrap for the mean of thresholds."""

    recall: Floats  # (P,)
    precision: Floats  # (T, P); -1 where there was nobody to find
    score: Floats  # (T, P) of the detection that reaches the recall; 0: none does, -1 as above
    mean: Floats  # (P,)
    low: Floats  # (P,) nan without resamples
    high: Floats  # (P,)


@dataclass(frozen=True)
class Suppression:
    """AP if the worse of two poses of an image were removed whose OKS is above a limit."""

    limit: float
    ap: float
    gain: Interval  # in AP; negative: true detections are removed
    removed: int
    removed_true: int  # of these were true at OKS 0.5


@dataclass(frozen=True)
class GroupAP:
    """AP on some of the people, the others ignored, or on some of the images."""

    by: str  # "size", "crowding", "overlap", "labelled" or "truncation"
    group: str
    people: int
    images: int  # with these people
    ap: Interval
    classes: dict[str, int] = field(default_factory=dict)  # number of their keypoints of each class


@dataclass(frozen=True)
class BackgroundCounts:
    """Detections that match nobody, and people whom nobody matches, at an OKS threshold."""

    oks: float
    false_positives: int
    false_negatives: int


@dataclass(frozen=True, eq=False)
class TideErrors:
    """What TIDE says at one OKS threshold, by its own matching (see docs/analysis.md)."""

    oks: float
    ap: float
    # By mending one kind alone: "localisation", "duplicate", "background", "missed"; and by leaving
    # out all "false_positives" or "false_negatives". Negative where scores tie.
    gains: dict[str, float]
    kind: Codes  # (D,) index into DETECTION_KINDS; 0: it found somebody
    ignored: Flags  # (D,) is not counted, although it has a kind
    missed: Indices  # rows of `people` for whom no badly localised detection is at hand
    false_negatives: Indices  # rows of `people` whom nobody found


@dataclass(frozen=True, eq=False)
class Analysis:
    """What a result file loses AP by."""

    ap: Interval
    costs: tuple[ErrorCost, ...]
    keypoints: tuple[KeypointErrors, ...]
    joints: JointRecords
    detections: DetectionRecords
    people: PersonRecords
    calibration: Calibration
    curves: PrecisionRecall
    suppression: tuple[Suppression, ...]
    groups: tuple[GroupAP, ...]
    background: tuple[BackgroundCounts, ...]
    tide: tuple[TideErrors, ...]  # at OKS 0.5 and 0.75
    scoring_errors: int  # people whose best pose has not the highest score of those near them
    corrections: str  # "meant" or "published"
    draws: int
    seed: int
    num_images: int
    num_people: int  # who are not ignored
    keypoint_names: tuple[str, ...]
    image_ids: tuple[int | str, ...]
    person_ids: tuple[str, ...]

    def cost(self, kind: str, mode: str = "alone") -> ErrorCost:
        """Return the cost of one kind of error.

        Raises:
            KeyError: there is no such kind, or it has no cost in this mode.
        """
        for one in self.costs:
            if (one.kind, one.mode) == (kind, mode):
                return one
        raise KeyError(f"no {mode} cost of {kind!r}")

    @property
    def class_counts(self) -> Mapping[str, int]:
        """Number of keypoints of each class."""
        counts = np.bincount(self.joints.kind, minlength=len(CLASSES)).tolist()
        return dict(zip(CLASSES, counts, strict=True))

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return tidy tables, one row per observation.

        The names are "errors", "keypoints", "joints", "detections", "people", "calibration",
        "curves", "groups" and "suppression".
        """
        from posebench.bench.analysis.tables import tables_of

        return tables_of(self)
