"""`posebench export` as it is typed."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from torch import Tensor

from posebench.exporting.card import LIBRARIES
from posebench.models.pifpaf.model import PifPaf
from tests.cli.command import run


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--format tflite", "There is no format named 'tflite'"),
        ("--size big", "--size expects height x width such as 512x704"),
        ("--batch 0", "--batch expects a number above 0"),
        ("--out x.xml", "A file of the format onnx ends in .onnx"),
        ("--format pt2 --size 32x32", "at least 64 pixels"),
        ("--format pt2 --size 250x383", "multiples of 32, not 250x383: choose --size 256x384."),
        ("--half --int8", "leave one out"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    words: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("export", "cid_tiny", *words.split())
    assert result.code == 2
    assert sentence in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ("export", "cid_tiny", "--format", "openvino"),
        ("eval", "cid_tiny", "--dataset", "synthetic", "--backend", "openvino"),
        ("predict", "x.jpg", "--backend", "openvino", "--out", "x.json"),
    ],
)
def test_a_missing_runtime_is_said_before_anything_is_computed(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(LIBRARIES, "openvino", ("no_such_library",))
    with mock.patch("posebench.engine.find_model", side_effect=AssertionError("it was loaded")):
        if words[0] == "predict":
            Path("x.jpg").write_bytes(b"")
            words = ("predict", "cid_tiny", *words[1:])
        result = run(*words)
    assert result.code == 5
    assert "no_such_library, which is not installed: pip install 'posebench[openvino]'" in (
        " ".join(result.err.split())
    )


def test_a_network_that_cannot_be_traced_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def branching(model: PifPaf, images: Tensor, padding: Tensor | None = None) -> Tensor:
        return images if images.sum() > 0 else -images

    monkeypatch.setattr(PifPaf, "features", branching)
    result = run("export", "pifpaf_tiny", "--format", "pt2", "--out", tmp_path / "x.pt2")
    assert result.code == 5
    assert "PyTorch cannot trace pifpaf with" in result.err
    assert not list(tmp_path.glob("x*"))


def test_a_file_is_written_checked_and_evaluated(tmp_path: Path) -> None:
    path = tmp_path / "pifpaf.pt2"
    result = run(
        "export", "pifpaf_tiny", "--format", "pt2", "--size", "192x256", "--batch", "1",
        "--out", path,
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "limbs" in result.out
    assert "people equal PyTorch's within" in result.err
    assert result.out.strip().endswith("pifpaf.pt2")
    scored = run("eval", path, "--dataset", "synthetic", "--limit", "2", "--runs", tmp_path)
    assert scored.code == 0, scored.err
    assert "pifpaf_tiny on synthetic val[:2]: 2 images" in scored.out
