"""Checkpoints on other backends: exported once, kept in the cache, chosen by time and equality."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import posebench
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import BACKENDS, backend_of, backends, check_backend, find_model, placed
from posebench.engine.backend_names import EXPORTED, format_run_by
from posebench.engine.checkpoint import Checkpoint
from posebench.engine.exported import ExportedCheckpoint
from posebench.errors import PosebenchError, UnsupportedError, UsageError
from posebench.exporting import Agreement, Card
from posebench.skeleton import COCO

WITH_ONNX = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx or onnxruntime is not installed: pip install 'posebench[onnx]'",
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSEBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_misspelt_backend_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="Did you mean openvino"):
        check_backend("openvno")
    with pytest.raises(UsageError, match="Known: compile, onnxruntime, openvino, torch"):
        check_backend("auto", auto=False)


def test_every_exported_backend_runs_one_format() -> None:
    assert EXPORTED == ("onnxruntime", "openvino")
    assert [format_run_by(name) for name in EXPORTED] == ["onnx", "openvino"]
    assert set(BACKENDS) == {"torch", "compile", *EXPORTED}


def test_a_backend_is_for_the_cpu_in_float32() -> None:
    checkpoint = find_model("pifpaf_tiny")
    for device, precision, option in (("cuda", "fp32", "device"), ("auto", "bf16", "precision")):
        with pytest.raises(UsageError, match=f"leave out --{option}"):
            placed(checkpoint, device, precision, "onnxruntime")
    own, place = placed(checkpoint, "cpu", "bf16", "torch")
    assert own is checkpoint
    assert place.type == "cpu"
    assert backend_of(own) == "torch"


def test_nothing_computes_with_ideal_outputs() -> None:
    with pytest.raises(UsageError, match="leave it out with --oracle"):
        posebench.evaluate("cid_tiny", "synthetic", oracle=True, backend="onnxruntime")


def test_auto_is_pytorch_where_no_other_backend_can_compute(own_cache: Path) -> None:
    def refused(checkpoint: Checkpoint, backend: str) -> None:
        raise UnsupportedError(f"{backend} is not installed")

    with mock.patch.object(backends, "_cached", refused):
        assert backends.fastest_backend(find_model("pifpaf_tiny")) == "torch"
    [known] = json.loads((own_cache / "backends.json").read_text()).values()
    assert set(known["refused"]) == set(BACKENDS) - {"torch", "compile"}
    with mock.patch.object(backends, "_measured", side_effect=AssertionError):  # it is kept
        assert backends.fastest_backend(find_model("pifpaf_tiny")) == "torch"


def test_a_damaged_record_is_measured_again(own_cache: Path) -> None:
    own_cache.mkdir()
    (own_cache / "backends.json").write_text('{"half')
    with mock.patch.object(backends, "_measured", return_value={"fastest": "torch"}):
        assert backends.fastest_backend(find_model("pifpaf_tiny")) == "torch"
    assert len(json.loads((own_cache / "backends.json").read_text())) == 1


def test_a_cache_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POSEBENCH_CACHE", str(tmp_path / "file"))
    for compute in (backends.fastest_backend, lambda own: backends._cached(own, "onnxruntime")):
        with (
            mock.patch.object(backends, "_measured", return_value={"fastest": "torch"}),
            pytest.raises(PosebenchError, match="cannot be written"),
        ):
            compute(find_model("pifpaf_tiny"))


def test_an_export_that_another_process_makes_meanwhile_is_taken(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, rename = find_model("pifpaf_tiny"), Path.rename
    written: list[Path] = []

    def export(model: object, recipe: object, path: Path, *, facts: object) -> Any:
        path.parent.mkdir(parents=True)
        path.write_text("network")
        written.append(path)
        return mock.Mock(agreement=Agreement({}, {}))

    def other_first(beside: Path, folder: Path) -> Path:
        shutil.copytree(beside, folder)
        return rename(beside, folder)

    monkeypatch.setattr(backends, "export_network", export)
    monkeypatch.setattr(
        backends, "read_exported", lambda path: ExportedCheckpoint(
            path, checkpoint.recipe, {}, {}, mock.Mock(spec=Card)
        ),
    )  # fmt: skip
    monkeypatch.setattr(Path, "rename", other_first)
    exported, check = backends._cached(checkpoint, "onnxruntime")
    assert exported.path.read_text() == "network" and check["equal"]
    monkeypatch.setattr(Path, "rename", rename)
    (exported.path.parent / "check.json").unlink()  # half of it was removed
    exported.path.unlink()
    assert backends._cached(checkpoint, "onnxruntime")[0].path.read_text() == "network"
    backends._cached(checkpoint, "onnxruntime")
    assert len(written) == 2
    assert len(list((own_cache / "exports").iterdir())) == 1


@pytest.mark.parametrize(("equal", "chosen"), [(True, "onnxruntime"), (False, "torch")])
def test_a_faster_backend_is_chosen_if_its_people_are_equal(equal: bool, chosen: str) -> None:
    checkpoint = find_model("pifpaf_tiny")

    def cached(own: Checkpoint, backend: str) -> tuple[Checkpoint, dict[str, bool]]:
        if backend == "openvino":
            raise UnsupportedError("openvino is not installed")
        return own, {"equal": equal}

    def in_turns(networks: dict[str, object], *_: object) -> dict[str, float]:
        return {name: {"torch": 2.0, "onnxruntime": 1.0}[name] for name in networks}

    with (
        mock.patch.object(backends, "_cached", cached),
        mock.patch.object(backends, "_in_turns", in_turns),
    ):
        assert backends.fastest_backend(checkpoint) == chosen


def test_a_compiled_checkpoint_predicts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph as it is compiled; that of a real network takes a minute to compile."""

    def uncompiled(module: Any, **options: Any) -> Any:
        assert options == {"options": {"freezing": True}}
        return module

    monkeypatch.setattr("torch.compile", uncompiled)
    monkeypatch.setenv("CXX", sys.executable)  # there is some compiler
    image = SyntheticCrowds(COCO, "val", size=256).load(1).image
    model = posebench.load_model("pifpaf_tiny", backend="compile")
    assert model.backend == "compile" and repr(model).endswith("compile)")
    found, expected = (
        one.predict(image) for one in (model, posebench.load_model("pifpaf_tiny", device="cpu"))
    )
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.01)


@WITH_ONNX
def test_a_checkpoint_is_exported_once_and_predicts_the_same(own_cache: Path) -> None:
    found = posebench.evaluate("pifpaf_tiny", "synthetic", limit=3, backend="onnxruntime")
    expected = posebench.evaluate("pifpaf_tiny", "synthetic", limit=3)
    assert found.metrics["AP"] == pytest.approx(expected.metrics["AP"], abs=1e-6)
    assert set(found.rows["backend"]) == {"onnxruntime"}
    [folder] = (own_cache / "exports").iterdir()
    assert json.loads((folder / "check.json").read_text())["equal"]
    with mock.patch.object(backends, "export_network", side_effect=AssertionError):  # it is kept
        model = posebench.load_model("pifpaf_tiny", backend="onnxruntime")
    assert repr(model).endswith("onnxruntime)")
    # Other weights are another file.
    changed = find_model("pifpaf_tiny")
    name = next(iter(changed.weights))
    changed.weights[name] = changed.weights[name] + 1
    assert backends._fingerprint(changed, "x") != backends._fingerprint(
        find_model("pifpaf_tiny"), "x"
    )
