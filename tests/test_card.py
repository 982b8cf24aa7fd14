"""Cards as values: what is left out, what is refused, and cards of earlier versions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from posebench.card import (
    CARD_VERSION,
    Card,
    CardEvaluation,
    CardFile,
    CardModel,
    CardTraining,
    card_from_json,
    read_card_file,
)
from posebench.errors import DataError

CARD = Card(
    CardModel("cid_tiny", weights=CardFile("cid_tiny.safetensors", "ab")),
    CardEvaluation(
        "synthetic", "val", 200, {"AP": 0.5304, "AP50": -1.0}, intervals={"AP": (0.493, 0.564)},
    ),
    CardTraining(seed=0),
)  # fmt: skip
# As `weights pack` wrote them before.
FLAT: dict[str, Any] = {
    "recipe": "cid_tiny", "command": "posebench train cid_tiny --dataset synthetic",
    "commit": "403da6a", "seed": 0, "hardware": "a CPU", "date": "2026-11-29",
    "dataset": "synthetic", "split": "val", "images": 200, "tta": "flip", "ap": 53.0,
    "ap_low": 49.3, "ap_high": 56.4, "check_images": 20, "check_ap": 62.4, "sha256": "1dd8",
}  # fmt: skip


def test_what_is_not_known_is_left_out() -> None:
    assert CARD.to_json() == {
        "card_version": CARD_VERSION,
        "model": {
            "name": "cid_tiny",
            "weights": {"file": "cid_tiny.safetensors", "sha256": "ab"},
        },
        "evaluation": {
            "dataset": "synthetic", "split": "val", "images": 200, "batch_size": 8,
            "metrics": {"AP": 0.5304, "AP50": -1.0}, "intervals": {"AP": [0.493, 0.564]},
        },
        "training": {"seed": 0},
    }  # fmt: skip
    assert card_from_json(json.loads(CARD.text()), Path("card.json")) == CARD


def test_it_says_in_short_what_most_readers_ask() -> None:
    assert (CARD.recipe, CARD.dataset, CARD.split, CARD.images) == (
        "cid_tiny", "synthetic", "val", 200,
    )  # fmt: skip
    assert (CARD.main, CARD.ap, CARD.ap_low, CARD.ap_high) == (("AP", 0.5304), 53.0, 49.3, 56.4)
    assert (CARD.sha256, CARD.seed, CARD.command) == ("ab", 0, "")


def test_cards_of_earlier_versions_are_read() -> None:
    card = card_from_json(FLAT, Path("cid_tiny.json"))
    assert (card.recipe, card.ap, card.ap_low, card.ap_high) == ("cid_tiny", 53.0, 49.3, 56.4)
    assert card.first_images is not None and card.first_images.value == 0.624
    assert card.evaluation.decimals == 1 and card.protocol_version is None
    assert card.model.weights == CardFile("cid_tiny.safetensors", "1dd8")
    assert (card.command, card.date) == (FLAT["command"], FLAT["date"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"card_version": 2}, "install a later posebench"),
        ({"evaluation": {"dataset": "coco"}}, "`split`"),
        ({"model": {"name": 7}}, "model.name"),
        ({"evaluation": {**CARD.to_json()["evaluation"], "metrics": {}}}, "no metrics"),
        ({"evaluation": {**CARD.to_json()["evaluation"], "metrics": {"AP": "x"}}}, "metrics"),
    ],
)
def test_what_is_no_card_is_one_sentence(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(json.dumps(CARD.to_json() | change))
    with pytest.raises(DataError, match=said):
        read_card_file(tmp_path)


@pytest.mark.parametrize("content", [None, "[1]", "{", '{"check_ap": 1}', "null"])
def test_other_files_are_refused(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match="Expected a card"):
        read_card_file(path)


def test_a_card_may_have_a_number_that_it_does_not_know() -> None:
    changed = replace(CARD, protocol_version=None, training=None)
    assert (changed.seed, changed.commit, changed.date) == (None, "", "")
