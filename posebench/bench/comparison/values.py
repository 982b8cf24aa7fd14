"""What a comparison of models says, as values. AP and its differences are fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from posebench.bench.statistics import Interval

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ModelScores:
    """A model's metrics with their intervals; nan where there is nobody to find."""

    name: str
    metrics: dict[str, Interval]  # AP first; names as `evaluate_keypoints` gives them
    letters: str  # models that share one cannot be told apart


@dataclass(frozen=True)
class PairDifference:
    """The AP of the better of two models minus the other's."""

    better: str
    worse: str
    difference: Interval
    p: float  # of the exchange of images
    p_adjusted: float  # by Holm for all pairs
    # The difference that such images show with a power of 80 %, tested at 5 %.
    smallest: float


@dataclass(frozen=True)
class GroupScore:
    """A model's AP in one group of people or images."""

    model: str
    by: str
    group: str
    people: int
    images: int
    ap: Interval


@dataclass(frozen=True)
class GroupDifference:
    """A difference in one group; the models are in the order of their AP over all people."""

    better: str
    worse: str
    by: str
    group: str
    difference: Interval
    p: float = float("nan")


@dataclass(frozen=True)
class ImageEffect:
    """What one image costs each model: its AP without the image minus its AP."""

    image: int  # index into the annotations' images
    image_id: int | str
    people: int
    crowd_index: float  # nan where the file has none
    cost: dict[str, float]  # by model


@dataclass(frozen=True)
class ErrorDifference:
    """The AP that a kind of error costs the worse model minus what it costs the better."""

    better: str
    worse: str
    kind: str
    difference: Interval  # low and high are nan without resamples of both


@dataclass(frozen=True)
class Comparison:
    """Several models on the same images."""

    models: tuple[ModelScores, ...]  # best first
    pairs: tuple[PairDifference, ...]
    reference: str
    draws: int
    seed: int
    num_images: int
    num_people: int
    groups: tuple[GroupScore, ...] = ()
    group_differences: tuple[GroupDifference, ...] = ()
    images: tuple[ImageEffect, ...] = ()  # those first whose costs differ most between models
    errors: tuple[ErrorDifference, ...] = ()
    analyses: Mapping[str, Any] = field(default_factory=dict)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return tidy tables in percent: metrics, differences, groups, images and errors."""
        from posebench.bench.comparison.tables import tidy_tables

        return tidy_tables(self)
