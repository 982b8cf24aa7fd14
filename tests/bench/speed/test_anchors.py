"""ONNX files of other programs, by the shapes of their outputs."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import posebench
from posebench.bench.speed.anchors import layout_of, onnx_predictor, people_of
from posebench.bench.speed.interleave import backends_of
from posebench.bench.speed.options import SpeedOptions
from posebench.errors import DataError, UnsupportedError, UsageError
from posebench.exporting.files import write_network
from posebench.exporting.writing import check_images
from tests.exporting.networks import traced_network

FILE = Path("x.onnx")
WITH_ONNX = pytest.mark.skipif(
    importlib.util.find_spec("onnx") is None or importlib.util.find_spec("onnxruntime") is None,
    reason="onnx or onnxruntime is not installed: pip install 'posebench[onnx]'",
)


@pytest.mark.parametrize(
    ("shapes", "kind", "keypoints"),
    [
        ([(1, 56, 8400)], "yolo", 17),
        ([(1, 300, 57)], "yolo after suppression", 17),
        ([(1, "people", 5), (1, "people", 17, 3)], "rtmo", 17),
    ],
)
def test_layouts_are_known_by_their_shapes(
    shapes: list[tuple[Any, ...]], kind: str, keypoints: int
) -> None:
    layout = layout_of(shapes, FILE)
    assert (layout.kind, layout.keypoints) == (kind, keypoints)


def test_an_unknown_layout_is_one_sentence() -> None:
    with pytest.raises(UnsupportedError, match="unknown layout \\(1x1000\\)"):
        layout_of([(1, 1000)], FILE)


def test_people_are_read_and_suppressed_in_each_layout() -> None:
    points = np.arange(6, dtype=np.float32).reshape(2, 3)
    # Three candidates: the second lies on the first, the third is apart.
    boxes = np.array([[10, 10, 4, 8], [10, 10, 4, 7.5], [40, 40, 4, 8]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    rows = np.concatenate([boxes, scores[:, None], np.tile(points.reshape(1, 6), (3, 1))], 1)
    keypoints, found = people_of([rows.T[None]], "yolo")
    np.testing.assert_allclose(found, [0.9, 0.7])
    np.testing.assert_allclose(keypoints[0], points)

    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    ends = np.concatenate([corners, scores[:, None], np.zeros((3, 1)), rows[:, 5:]], 1)
    keypoints, found = people_of([ends[None].astype(np.float32)], "yolo after suppression")
    np.testing.assert_allclose(found, [0.9, 0.7])

    detections = np.concatenate([corners, scores[:, None]], 1)[None].astype(np.float32)
    keypoints, found = people_of([detections, np.tile(points, (1, 3, 1, 1))], "rtmo")
    np.testing.assert_allclose(found, [0.9, 0.7])
    np.testing.assert_allclose(keypoints[1], points)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is none at"):
        onnx_predictor(tmp_path / "nothing.onnx")


def test_a_file_of_any_format_that_posebench_writes_is_timed(tmp_path: Path) -> None:
    _, card, program = traced_network("pifpaf_tiny")
    write_network(program, card, tmp_path / "x.pt2")
    predictor = onnx_predictor(tmp_path / "x.pt2")
    assert (predictor.name, predictor.backend) == ("x.pt2", "torch.export")
    assert backends_of(predictor, SpeedOptions()) == ("torch.export",)
    images = [sample.image for sample in check_images(card.recipe, 2)]
    expected = posebench.load_model(tmp_path / "x.pt2").predict(images)
    found = predictor.predict(images)
    assert [len(people) for people in found] == [len(people) for people in expected]
    assert sum(map(len, found)) > 0


@WITH_ONNX
def test_a_file_that_is_no_onnx_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"words")
    with pytest.raises(DataError, match="is not an ONNX file"):
        onnx_predictor(tmp_path / "x.onnx")


def written(path: Path, outputs: Mapping[str, Any], size: tuple[Any, Any] = (48, 64)) -> Path:
    """Write a file whose outputs do not depend on the image."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("ReduceMean", ["images"], ["mean"], axes=[0, 1, 2, 3], keepdims=0)]
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))
    kept = {f"{name} kept": np.asarray(values, np.float32) for name, values in outputs.items()}
    kept["zero"] = np.zeros((), np.float32)
    nodes += [helper.make_node("Add", [f"{name} kept", "nothing"], [name]) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "anchor",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *size])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, kept[f"{name} kept"].shape)
            for name in outputs
        ],
        [numpy_helper.from_array(values, name) for name, values in kept.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


POINTS = np.tile([32, 24, 1], 17)  # every keypoint at the centre of the input
BOX, CORNERS = [32, 24, 20, 20], [22, 14, 42, 34]
NOBODY = np.zeros(17 * 3)
LAYOUTS: dict[str, dict[str, Any]] = {
    "yolo pose.onnx": {
        "people": np.stack([[*BOX, 0.9, *POINTS], [*BOX, 0.01, *NOBODY]], axis=1)[None]
    },
    "suppressed.onnx": {"people": [[[*CORNERS, 0.9, 0, *POINTS], [*[0] * 6, *NOBODY]]]},
    "rtmo.onnx": {
        "dets": [[[*CORNERS, 0.9], [0] * 5]],
        "keypoints": [[POINTS.reshape(17, 3), NOBODY.reshape(17, 3)]],
    },
}


@WITH_ONNX
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_file_of_each_layout_is_timed_like_a_predictor(name: str, tmp_path: Path) -> None:
    predictor = onnx_predictor(written(tmp_path / name, LAYOUTS[name]))
    assert (predictor.name, predictor.backend) == (name.replace(" ", "_"), "onnxruntime")
    again = pickle.loads(pickle.dumps(predictor))  # it is timed in another process
    people = again.predict(np.zeros((96, 128, 3), np.uint8))
    assert people.keypoints.shape == (1, 17, 2)
    np.testing.assert_allclose(people.keypoints[0, 0], [64, 48])  # the image is twice the input
    np.testing.assert_allclose(people.scores, [0.9], rtol=1e-6)


@WITH_ONNX
@pytest.mark.parametrize(
    ("outputs", "size", "sentence"),
    [
        ({"classes": np.zeros((1, 1000))}, (48, 64), r"unknown layout \(1x1000\)"),
        ({"boxes": np.zeros((1, 84, 8400))}, (48, 64), r"unknown layout \(1x84x8400\)"),  # objects
        ({"people": np.zeros((1, 68, 20))}, (48, 64), "predicts 21 keypoints"),  # hands
        (LAYOUTS["rtmo.onnx"], ("height", "width"), "export it with a fixed one"),
    ],
)
def test_a_file_that_cannot_be_an_anchor_is_one_sentence(
    outputs: dict[str, Any], size: tuple[Any, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match=sentence):
        onnx_predictor(written(tmp_path / "x.onnx", outputs, size))
