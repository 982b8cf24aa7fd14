"""`posebench predict`: files from the command line, stopped and continued."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import posebench
from posebench.engine import Predictor
from tests.cli.command import run
from tests.films import film, photo


@pytest.fixture(autouse=True)
def _seer() -> Iterator[None]:
    """Have a predictor that the command line knows, and hear Ctrl-C as a shell's commands do."""
    from posebench.engine import PREDICTORS
    from tests.films import seer

    PREDICTORS.update({"seer": seer()})
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
    del PREDICTORS["seer"]


def test_a_film_becomes_lines() -> None:
    film(Path("x.mp4"), 12)
    result = run("predict", "seer", "x.mp4", "--out", "x.jsonl", "--track", "--smooth")
    assert result.code == 0, result.err
    assert result.out.strip() == "x.jsonl"
    assert "found 12 people on 12 frames in " in result.err
    assert len(Path("x.jsonl").read_text().splitlines()) == 12


def test_a_folder_gets_the_results_and_the_pictures() -> None:
    for number in (1, 2):
        photo(Path(f"in/{number}.jpg"), number)
    Path("in/3.jpg").write_bytes(b"x")
    for _ in range(2):  # pictures among the sources are not predicted again
        result = run("predict", "seer", "in", "--out", "in/done", "--save-images", "--recursive")
        assert result.code == 0, result.err
        assert "skipped" in result.err and "1 of 3 images could not be read." in result.err
        names = [p.name for p in sorted(Path("in/done").rglob("*")) if p.is_file()]
        assert names == ["1.jpg", "2.jpg", "predictions.jsonl"]


def test_ctrl_c_keeps_what_is_done_and_says_how_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    film(Path("x.avi"), 20)
    words = ("predict", "seer", "x.avi", "--track", "--out")
    assert run(*words, "whole.json").code == 0
    original = Predictor._predicted
    calls: list[int] = []

    def stopping(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "_predicted", stopping)
        result = run(*words, "x.json")
    assert result.code == 130
    assert "Stopped; what is done is in x.json." in result.err
    assert len(json.loads(Path("x.json").read_text())) == 7
    again = shlex.split(result.err.splitlines()[-1])[1:]
    assert again == [*words, "x.json", "--resume"]
    result = run(*again)
    assert result.code == 0, result.err
    assert "Continued after 7 frames." in result.err
    assert Path("x.json").read_bytes() == Path("whole.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("seer", "x.avi", "--out", "x.xml"), 2, ".jsonl"),
        (("seer", "x.avi", "--out", "x.csv", "--smooth"), 2, "add --track"),
        (("seer", "nowhere.mp4", "--out", "x.csv"), 3, "nowhere.mp4"),
        (("seer", "http://127.0.0.1:9/x", "--out", "x.csv"), 3, "cannot be opened"),
        (("nobody", "x.avi", "--out", "x.csv"), 4, "nobody"),
        (("seer", "x.avi", "--out", "x.parquet"), 5, "posebench[parquet]"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    words: tuple[str, ...], code: int, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    film(Path("x.avi"), 2)
    result = run("predict", *words)
    assert result.code == code, result.err
    assert named in result.err
    assert not list(Path().glob("x.[!a]*"))


def test_a_folder_without_a_readable_image_is_an_error() -> None:
    for number in (1, 2):
        Path(f"{number}.jpg").write_bytes(b"x")
    result = run("predict", "seer", ".", "--out", "x.jsonl")
    assert result.code == 3, result.err
    assert "None of 2 images can be read" in result.err
    assert len(Path("x.jsonl").read_text().splitlines()) == 2


def test_weights_that_were_trained_on_do_not_continue_a_run(root: Path, trained: Path) -> None:
    images = root / "coco" / "val2017"
    words = ("predict", trained, images, "--device", "cpu", "--out", "x.csv")
    stream = posebench.predict(trained, images, stream=True, out="x.csv", device="cpu")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    progress = json.loads(Path(".x.csv.progress.json").read_text())
    assert len(progress["request"]["sources"]) == 64  # a hash, however many there are
    progress["request"]["model"][2] = "0" * 64
    Path(".x.csv.progress.json").write_text(json.dumps(progress))
    result = run(*words, "--resume")
    assert result.code == 2 and "another value of model" in result.err


def test_a_model_of_the_package_predicts_what_eval_scores(root: Path, trained: Path) -> None:
    images = root / "coco" / "val2017"
    result = run("predict", trained, images, "--out", "x.json", "--device", "cpu")
    assert result.code == 0, result.err
    words = ("--dataset", "coco", "--data-root", root, "--json")
    scored = run("eval", "--predictions", "x.json", *words)
    own = run("eval", trained, *words, "--device", "cpu")
    assert scored.code == own.code == 0, scored.err + own.err
    values = [
        {r["metric"]: r["value"] for r in json.loads(one.out)["rows"] if r["metric"] == "AP"}
        for one in (scored, own)
    ]
    assert values[0] == values[1]
    assert len(json.loads(Path("x.json").read_text())) > 2
