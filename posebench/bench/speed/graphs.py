"""Networks recorded as CUDA graphs: the kernels of a pass are launched as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from posebench.errors import UnsupportedError
from posebench.models import PoseModel

WARM_UPS = 3  # passes before recording, in which libraries choose their kernels


@dataclass(frozen=True)
class _Recording:
    """A recorded pass, and the memory that it reads and writes."""

    graph: Any
    images: Tensor
    padding: Tensor | None
    outputs: Any


class GraphedNetwork:
    """A network whose forward pass is recorded for each size of image, and replayed."""

    def __init__(self, model: PoseModel) -> None:
        self.model = model
        self._recordings: dict[tuple[torch.Size, bool], _Recording] = {}

    def __call__(self, images: Tensor, padding: Tensor | None, people: Tensor | None) -> Any:
        """Return the outputs; they are overwritten by the next pass of images of this size.

        Args:
            images: (B, 3, H, W).
            padding: (B, H, W), or None.
            people: ignored: their number would decide on shapes, so the network finds its own.

        Raises:
            UnsupportedError: Python waits for the GPU within the network's forward pass.
        """
        key = (images.shape, padding is not None)
        if key not in self._recordings:
            self._recordings[key] = self._recorded(images.clone(), padding)
        recording = self._recordings[key]
        recording.images.copy_(images)
        if recording.padding is not None and padding is not None:
            recording.padding.copy_(padding)
        recording.graph.replay()
        return recording.outputs

    def _recorded(self, images: Tensor, padding: Tensor | None) -> _Recording:
        padding = None if padding is None else padding.clone()
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                self.model(images, padding)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                outputs = self.model(images, padding)
        except RuntimeError as error:
            raise UnsupportedError(
                f"{type(self.model).__name__} cannot be recorded as a CUDA graph, since Python "
                "waits for values within its forward pass: leave out --cuda-graphs. "
                f"({str(error).splitlines()[0]})"
            ) from error
        return _Recording(graph, images, padding, outputs)
