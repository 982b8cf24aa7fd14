"""Outputs that cannot be written are noticed before anything is computed for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from posebench.cli import app
from posebench.errors import PosebenchError
from posebench.files import check_writable
from tests.cli.command import run

_OUTPUTS = {"--out", "--output", "--report", "OUT"}


def options(command: Any, *words: str) -> Iterator[tuple[str, Any]]:
    """Yield the parameters of all commands, each with the words of its command."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from options(inner, *words, name)
    for parameter in command.params:
        yield " ".join(words), parameter


def test_every_option_that_names_an_output_is_checked() -> None:
    checked = {
        (command, name): parameter.callback
        for command, parameter in options(typer.main.get_command(app))
        for name in {*parameter.opts, parameter.metavar} & _OUTPUTS
    }
    assert {command for command, _ in checked} >= {
        "predict", "export", "analyze", "compare", "card", "viz", "tables", "data synth",
    }  # fmt: skip
    assert [names for names, callback in checked.items() if callback is None] == []


@pytest.mark.parametrize(
    "words",
    [
        "predict nowhere photo.jpg --out file/a.jsonl",
        "predict nowhere photo.jpg --out file/deep/er",
        "export nowhere --out file/x.onnx",
        "compare a.json b.json --report file/page.html",
        "compare a.json b.json --out file",
        "analyze a.json --report folder",
        "card nowhere --out file",
        "viz photo.jpg --model nowhere --out file/a.png",
        "tables all --out file",
        "data synth file",
        "weights pack nowhere --out file",
        "data convert nowhere --output file/a.json",
    ],
)
def test_an_output_that_cannot_be_written_is_the_first_thing_said(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("kept")
    Path("folder").mkdir()
    result = run(*words.split())
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert " cannot be written (" in line and line.endswith((".", "it."))
    assert Path("file").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_checking_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").write_text("kept")
    for path in (tmp_path / "new/deep/a.csv", tmp_path / "there", tmp_path / "a.csv"):
        check_writable(path)
    check_writable(tmp_path, "folder")
    check_writable(tmp_path / "new", "either")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("posebench.files.TemporaryFile", refuse)
    with pytest.raises(PosebenchError, match=r"a\.csv cannot be written \(Permission denied\)"):
        check_writable(tmp_path / "a.csv")
