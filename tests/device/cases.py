"""The recipes that are tested on the test device, and how often each may make Python wait for it.

A new method has one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import inference_model, read_checkpoint
from posebench.models import PoseModel
from posebench.shipped import shipped_weights
from posebench.skeleton import COCO
from posebench.structures import Batch, Inference, Resize, Sample
from tests.builders import make_batch
from tests.device.tensors import DEVICE

T = TypeVar("T")
CPU = torch.device("cpu")
SIDE = 128  # pixels, of images and inputs


@dataclass(frozen=True)
class Bounds:
    """How often each step may wait for the device, at most, and how far its results may differ."""

    forward: int = 0
    decode: int = 1  # for a whole batch
    targets: int = 0
    loss: int = 0  # with targets, and the network in training
    outputs: float = 1e-5  # largest difference of an output, relative to the largest value
    gradients: float = 1e-5  # of a parameter's gradient, likewise


BOUNDS = {
    "cid_tiny": Bounds(),
    "dekr_tiny": Bounds(),
    # The costs of all matchings go to the CPU at once.
    "ed_pose_tiny": Bounds(loss=1, outputs=1e-4, gradients=1e-3),
    # The CPU groups candidates between two searches of the maps.
    "higher_hrnet_tiny": Bounds(decode=2),
    "pifpaf_tiny": Bounds(),
    # The graphs of a training step are sampled on the CPU, from buffers.
    "dgcn_tiny": Bounds(loss=1),
    # How many candidates have a person by their coarse poses decides on shapes.
    "posedet_tiny": Bounds(loss=1, gradients=1e-4),
    # The costs of all matchings go to the CPU at once.
    "group_pose_tiny": Bounds(loss=1, outputs=1e-4, gradients=1e-3),
    # How many people there are, and how many boxes to sample from, decides on shapes.
    "mask_rcnn_tiny": Bounds(forward=1, loss=1, gradients=1e-4),
}
NAMES = sorted(BOUNDS)


@cache
def _checkpoint(name: str) -> Any:
    path = shipped_weights(name)
    assert path is not None
    return read_checkpoint(path)


def trained(name: str) -> PoseModel:
    """Return a model with the weights of the package, which find people in synthetic crowds."""
    model: PoseModel = _checkpoint(name).model()
    return model


@cache
def folded(name: str, device: torch.device) -> PoseModel:
    """Return what evaluation computes with, on a device; it is shared, so not to be changed."""
    return inference_model(trained(name).to(device))


def on_both(compute: Callable[[torch.device], T]) -> tuple[T, T]:
    """Return what is computed on the device, and on the CPU as if there were no device."""
    with _disable_current_modes():
        theirs = compute(CPU)
    return compute(DEVICE), theirs


_drawn = cache(SyntheticCrowds.load)


class Crowds(SyntheticCrowds):
    """Crowds whose images are drawn once."""

    def load(self, index: int, *, pixels: bool = True) -> Sample:
        return _drawn(self, index, pixels=pixels)


def crowds(split: str, length: int, size: int = SIDE) -> SyntheticCrowds:
    return Crowds(COCO, split, length, size, crowd=0.2)


def samples() -> tuple[Sample, ...]:
    shown = crowds("val", length=3)
    return tuple(shown.load(index) for index in range(3))


def batch() -> Batch:
    """Return images with different numbers of people, as the loader does."""
    return make_batch((3, 0, 2), size=SIDE)


def views(flip: bool = True, scales: tuple[float, ...] = (1.0,)) -> Inference:
    return Inference(Resize(SIDE), flip=flip, scales=scales)


def steps(name: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield a method's steps on the device; each is to be called before the next is taken."""
    results: list[Any] = []
    yield "batch", lambda: results.append(batch().to(DEVICE))
    ready: Batch = results.pop()
    model = trained(name).to(DEVICE).train()
    yield "targets", lambda: model.targets(ready)
    yield "loss", lambda: results.append(model.loss(ready))
    total = torch.stack(list(results.pop().values())).sum()
    yield "backward", total.backward
    network = inference_model(trained(name).to(DEVICE))  # its first pass: nothing is kept yet
    with torch.inference_mode():
        yield "forward", lambda: results.append(network(ready.images, ready.padding))
        outputs = results.pop()
        yield "decode", lambda: network.decode(outputs, ready.geometry)


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference, relative to the largest value; infinite: other shapes."""
    ours, theirs = ours.detach().cpu().double(), theirs.detach().cpu().double()
    if ours.shape != theirs.shape or not ours.isnan().equal(theirs.isnan()):
        return float("inf")
    if not theirs.numel():
        return 0.0
    apart = (ours - theirs).nan_to_num(0.0).abs().max()
    return float(apart / theirs.nan_to_num(0.0).abs().max().clamp(min=1e-3))
