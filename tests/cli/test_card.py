"""`posebench card` and `posebench verify CARD` as a user sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posebench.card import read_card_file
from tests.builders import write_coco
from tests.cli.command import TINY, only, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a training of one step, beside its data."""
    place = tmp_path_factory.mktemp("place")
    write_coco(place / "data", (1, 2), "train")
    write_coco(place / "data", (1, 2), "val")
    result = run(
        "train", "cid_tiny", "--dataset", "coco", "--data-root", place / "data",
        "--runs", place / "runs", "--seed", "5", *TINY,
    )  # fmt: skip
    assert result.code == 0, result.err
    return only(place, "runs/train/*")


def test_a_training_has_a_card_that_holds(trained: Path, tmp_path: Path) -> None:
    made = run("card", trained, "--out", "handed")
    assert made.code == 0, made.err
    assert made.out.split() == ["handed/card.json", "handed/README.md"]
    assert "posebench verify handed/card.json" in made.err
    card = read_card_file(Path("handed"))
    assert card.training is not None and card.training.seed == 5
    assert card.training.command.startswith("posebench train cid_tiny")
    assert "--runs" not in card.training.command
    assert card.evaluation.seeds["training"] == 5
    root = trained.parents[2] / "data"
    checked = run("verify", "handed", "--data-root", root, "--device", "cpu")
    assert checked.code == 0, checked.err
    assert checked.out.count("holds") == 4
    rows = json.loads(run("verify", "handed", "--data-root", root, "--json").out)["rows"]
    assert [row["name"] for row in rows] == ["weights", "data", "scored again", "predicted again"]
    assert {row["verdict"] for row in rows} == {"holds"}


def test_a_card_that_does_not_hold_is_an_error(trained: Path, tmp_path: Path) -> None:
    run("card", trained)
    values = json.loads((trained / "card.json").read_text())
    values["evaluation"]["metrics"]["AP"] += 0.01
    (tmp_path / "wrong.json").write_text(json.dumps(values))
    result = run(
        "verify", tmp_path / "wrong.json", "--no-predict", "--data-root",
        trained.parents[2] / "data", "--results", trained / "predictions.json",
    )  # fmt: skip
    assert result.code == 1
    assert "scored again" in result.err and "fails" in result.out
    # Moved away from everything that it names: nothing can be checked.
    result = run("verify", tmp_path / "wrong.json", "--no-predict")
    assert result.code == 3
    assert "Nothing of the card" in result.err
    for option in ("--weights", "--data-root", "--results"):
        assert option in result.out


def test_the_weights_in_the_package_are_checked_by_their_names() -> None:
    result = run("verify", "cid_tiny", "--no-predict")
    assert result.code == 0, result.err
    assert "weights" in result.out and "holds" in result.out
    assert "has no result file" in result.out
    assert "does not say on which hardware" in result.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("verify", "nowhere.json"), 3, "Expected a card at nowhere.json"),
        (("verify", "cid_tiny", "--accuracy"), 2, "leave them out"),
        (("verify", "--results", "x.json"), 2, "name the card"),
        (("verify", "--no-predict"), 2, "name the card"),
        (("card", "nowhere"), 3, "a folder that does not exist"),
    ],
)
def test_wrong_use_is_one_sentence(words: tuple[str, ...], code: int, said: str) -> None:
    result = run(*words)
    assert (result.code, len(result.err.strip().splitlines())) == (code, 1)
    assert said in result.err
