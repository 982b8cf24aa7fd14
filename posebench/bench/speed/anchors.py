"""Any ONNX file with a known output layout as a model to be timed beside posebench's.

Layouts, of an input (1, 3, H, W) of fixed size, by the shapes of their outputs:

* posebench's own, named by the file's metadata;
* (1, 5 + 3K, N): YOLO pose before suppression: centre x, y, width, height, score, then x, y, score
  of each keypoint; pixels are values from 0 to 1, RGB;
* (1, N, 6 + 3K): YOLO pose after it: box corners, score, class, then the keypoints; likewise;
* (1, N, 5) and (1, N, K, 3): RTMO: box corners and score; keypoints; pixels from 0 to 255, BGR.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from posebench.engine import Model, Predictor, find_model
from posebench.errors import DataError, UnsupportedError, UsageError
from posebench.exporting.card import RUNTIMES, SUFFIXES, is_exported
from posebench.exporting.files import onnx_session, required
from posebench.skeleton import COCO, Skeleton

GREY = 114  # of the padding, as in YOLO
MIN_SCORE = 0.05  # of people who are suppressed and returned
_MOST = 200  # numbers of a person; more are candidates of a detector of objects
OVERLAP = 0.65  # IoU with a better box above which a person is suppressed

Floats = NDArray[np.float32]
People = tuple[Floats, Floats]  # keypoints (N, K, 3) in pixels of the image, and scores (N,)


def onnx_predictor(path: Path) -> Predictor:
    """Return an ONNX file, or any file that posebench has exported, as a predictor.

    Raises:
        UsageError: there is no such file.
        UnsupportedError: the runtime is not installed or cannot open it, or an ONNX file's layout
            is not known.
    """
    if not path.is_file():
        raise UsageError(f"--onnx expects an ONNX file, but there is none at {path}.")
    name = re.sub(r"[^\w.-]", "_", path.name)
    if _is_own(path):
        model = Model.of(find_model(str(path)), device="cpu")
        return Predictor(_Exported(path), name=name, skeleton=model.skeleton, backend=model.backend)
    anchor = Anchor(path)
    skeleton = _skeleton(anchor.keypoints)
    return Predictor(anchor, name=name, skeleton=skeleton, backend=RUNTIMES["onnx"])


def _is_own(path: Path) -> bool:
    if path.suffix != SUFFIXES["onnx"] and is_exported(path):  # no other program's are taken
        return True
    onnx = required("onnx", "onnx")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise DataError(f"{path} is not an ONNX file: {type(error).__name__}.") from None
    return any(own.key == "posebench" for own in model.metadata_props)


def _skeleton(keypoints: int) -> Skeleton:
    if keypoints == len(COCO):
        return COCO
    raise UnsupportedError(
        f"The ONNX file predicts {keypoints} keypoints, and files of COCO's {len(COCO)} are known."
    )


class _Opened:
    """What is opened in the process that uses it, since it cannot be sent to another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class _Exported(_Opened):
    """A file of posebench's own."""

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> list[tuple[Any, Any]]:
        if self._opened is None:
            self._opened = Model.of(find_model(str(self.path)), device="cpu")
        people = self._opened.predict(list(images))
        return [(own.keypoints, own.scores) for own in people]


@dataclass(frozen=True)
class _Layout:
    kind: str  # "yolo", "yolo after suppression" or "rtmo"
    keypoints: int


class Anchor(_Opened):
    """A file of another program, with one of the known layouts."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        session = self._session()
        self.layout = layout_of([tuple(output.shape) for output in session.get_outputs()], path)
        _, _, height, width = session.get_inputs()[0].shape
        if not (isinstance(height, int) and isinstance(width, int)):
            raise UnsupportedError(f"{path} takes images of any size: export it with a fixed one.")
        self.size = (height, width)

    @property
    def keypoints(self) -> int:
        return self.layout.keypoints

    def _session(self) -> Any:
        if self._opened is None:
            try:
                self._opened = onnx_session(self.path, torch.get_num_threads())
            except UnsupportedError:
                raise
            except Exception as error:
                text = str(error).splitlines()[0][:200]
                raise UnsupportedError(f"ONNX Runtime cannot open {self.path} ({text}).") from error
        return self._opened

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> list[People]:
        return [self._people(image) for image in images]

    def _people(self, image: NDArray[np.uint8]) -> People:
        height, width = self.size
        scale = min(height / image.shape[0], width / image.shape[1])
        rows, columns = round(image.shape[0] * scale), round(image.shape[1] * scale)
        padded = np.full((height, width, 3), GREY, np.uint8)
        padded[:rows, :columns] = cv2.resize(image, (columns, rows))
        if self.layout.kind == "rtmo":
            pixels = np.asarray(padded[..., ::-1], np.float32)
        else:
            pixels = np.asarray(padded / 255, np.float32)
        session = self._session()
        feed = {session.get_inputs()[0].name: np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])}
        keypoints, scores = people_of(session.run(None, feed), self.layout.kind)
        return np.asarray(keypoints / [scale, scale, 1], np.float32), scores


def layout_of(shapes: Sequence[tuple[Any, ...]], path: Path) -> _Layout:
    """Return the layout of outputs of these shapes.

    Raises:
        UnsupportedError: it is not known.
    """
    if len(shapes) == 1 and len(shapes[0]) == 3:
        _, first, last = shapes[0]
        if isinstance(first, int) and 5 < first < _MOST and (first - 5) % 3 == 0:
            return _Layout("yolo", (first - 5) // 3)
        if isinstance(last, int) and 6 < last < _MOST and (last - 6) % 3 == 0:
            return _Layout("yolo after suppression", (last - 6) // 3)
    ranks = [len(shape) for shape in shapes]
    if ranks == [3, 4] and shapes[0][2] == 5 and shapes[1][3] == 3:
        return _Layout("rtmo", int(shapes[1][2]))
    listed = ", ".join("x".join(map(str, shape)) for shape in shapes)
    raise UnsupportedError(
        f"{path} has outputs of an unknown layout ({listed}): known are posebench's own files, "
        "YOLO's pose models and RTMO; docs/export.md has their shapes."
    )


def people_of(outputs: Sequence[Floats], kind: str) -> People:
    """Return the people in a file's outputs, best first, in pixels of its input."""
    if kind == "rtmo":
        boxes, points = outputs[0][0], outputs[1][0]
        return _best(boxes[:, :4], boxes[:, 4], points)
    rows = outputs[0][0].T if kind == "yolo" else outputs[0][0]
    if kind == "yolo":
        centres, sides = rows[:, :2], rows[:, 2:4]
        corners = np.concatenate([centres - sides / 2, centres + sides / 2], 1)
        return _best(corners, rows[:, 4], rows[:, 5:].reshape(len(rows), -1, 3))
    return _best(rows[:, :4], rows[:, 4], rows[:, 6:].reshape(len(rows), -1, 3))


def _best(boxes: Floats, scores: Floats, keypoints: Floats) -> People:
    from torchvision.ops import nms

    good = scores > MIN_SCORE
    boxes, scores, keypoints = boxes[good], scores[good], keypoints[good]
    kept = nms(torch.from_numpy(boxes), torch.from_numpy(scores), OVERLAP).numpy()
    return keypoints[kept], scores[kept]
