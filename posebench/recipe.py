"""A recipe: a model's configuration and how it is trained and tested.

Recipes are plain values. A method's file lists its own; `posebench.models` gathers them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from posebench.structures import Augment, Skeleton, TestTime


@dataclass(frozen=True)
class Reported:
    """A figure that the authors published for a recipe."""

    dataset: str
    split: str
    metric: str
    value: float
    source: str  # "paper:cid:table05", or "released" for the authors' repository


@dataclass(frozen=True)
class Recipe:
    """Everything a run of one model needs but the data's place, the device and the seed."""

    name: str
    build: Callable[..., Any]  # the PoseModel class; called with (config, skeleton)
    config: Any  # that class's frozen configuration
    skeleton: Skeleton | None  # None: the training dataset's
    default_for: tuple[str, ...]  # datasets on which the bare method name means this recipe
    test_time: TestTime
    augment: Augment
    epochs: int
    batch_size: int  # images per optimizer step, over all processes and accumulated passes
    images_per_pass: int  # at most this many in one forward: what batch norm sees
    lr: float
    schedule: Literal["step", "cosine"] = "step"
    lr_drops: tuple[int, ...] = ()  # epochs at whose start "step" divides the rate by ten
    warmup_steps: int = 0
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    clip_norm: float = 0.0  # 0: gradients are not clipped
    evaluate_every: int = 10  # epochs
    pretrained: bool = True  # start the backbone from ImageNet weights
    reported: tuple[Reported, ...] = ()

    @property
    def method(self) -> str:
        """`cid` of `cid_hrnet_w32_coco`."""
        return str(self.build.__module__.rpartition(".")[2])
