"""What is timed, and what is found out about it: values that processes exchange.

No more than Python is needed to read them, so that a process that asks has nothing to import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Protocol = Literal["forward", "end-to-end", "paper"]
Precision = Literal["fp32", "bf16", "fp16"]

# The stages around the network; those within it follow NETWORK.
IMAGE, PREPROCESS, TRANSFER, DECODE = "decode image", "preprocess", "transfer", "postprocess"
NETWORK = "network/"

PEOPLE = 5  # of a picture, where nobody asks for others


@dataclass(frozen=True)
class Case:
    """What a model is shown."""

    people: int = PEOPLE
    size: tuple[int, int] | None = None  # H, W of the input; None: as the recipe resizes pictures


@dataclass(frozen=True)
class Subject:
    """A model and how it is timed."""

    recipe: str
    protocol: Protocol
    cases: tuple[Case, ...]
    pictures: tuple[str, ...]  # paths
    device: str = "cpu"
    precision: Precision = "fp32"
    batch_size: int = 1
    compiled: bool = False
    channels_last: bool = True
    threads: int = 0  # 0: PyTorch's own choice
    alternatives: bool = False  # time `PoseModel.alternatives` instead of passes


@dataclass(frozen=True)
class Facts:
    """What a case is and costs beside time."""

    size: tuple[int, int]  # H, W of the input
    parameters: int
    weight_bytes: int
    activation_bytes: int  # by which memory rises at most in a pass
    macs: int
    flops: int
    flops_folded: int
    macs_as_written: int
    decoded: int  # people found in the outputs that decoding reads


Seconds = dict[str, float]  # by stage
