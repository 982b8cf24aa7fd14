"""A card: one JSON file with what a model is, what it reaches, and what both depend on.

`posebench card` and `posebench weights pack` write it, `posebench verify` checks it; docs/cards.md
describes its fields. What is not known is left out. Reading one needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from posebench.errors import DataError

CARD_VERSION = 1  # of the form, raised when a reader of this one would misunderstand a later one

Kind = Literal["model", "predictor", "oracle", "file"]


@dataclass(frozen=True)
class CardFile:
    """A file that belongs to a card."""

    file: str  # path relative to the card
    sha256: str = ""


@dataclass(frozen=True)
class CardModel:
    """What was evaluated."""

    name: str  # of the recipe or the predictor, or what a result file's rows are called
    kind: Kind = "model"  # "oracle": ideal outputs; "file": a result file of any program
    method: str = ""
    weights: CardFile | None = None
    published: str = ""  # name of published weights, `posebench weights list`
    licence: str = ""
    recipe_hash: str = ""
    recipe: dict[str, Any] | None = None  # as in recipe.json; None: as the weights file has it


@dataclass(frozen=True)
class CardTraining:
    """How the weights were made."""

    command: str = ""
    commit: str = ""  # of the code
    seed: int | None = None
    hardware: str = ""
    date: str = ""  # ISO
    dataset: str = ""


@dataclass(frozen=True)
class CardEnvironment:
    """On what it was computed: predictions are the same to the digit only where this is."""

    hardware: str = ""
    python: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    commit: str = ""


@dataclass(frozen=True)
class CardEvaluation:
    """What a model reaches. Metrics are fractions."""

    dataset: str  # as for `--dataset`; a path is relative to the card
    split: str
    images: int
    metrics: dict[str, float]  # the main one first; -1: no ground truth to detect
    dataset_name: str = ""  # of a dataset that is given by its path
    # Decimals of the metrics in percent, if they were rounded; None: they were not.
    decimals: int | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)  # of 95 %
    seeds: dict[str, int] = field(default_factory=dict)
    results: CardFile | None = None  # in COCO's format
    data_hash: str = ""
    tta: str = ""  # the views that were merged, as in result tables
    precision: str = ""
    backend: str = ""  # what computed the network; empty: PyTorch, or nothing did
    batch_size: int = 8
    limit: int | None = None  # the first images alone
    unreadable: int = 0  # images
    date: str = ""
    seconds: float | None = None  # shown, not verified
    environment: CardEnvironment = field(default_factory=CardEnvironment)
    # Where the data were, relative to the card, and how they were read; as the options of `eval`.
    data_root: str = ""
    annotations: str = ""
    image_folder: str = ""
    category: list[str | int] = field(default_factory=list)
    skeleton: str = ""
    exif: str = "stored"


@dataclass(frozen=True)
class FirstImagesAP:
    """The main metric on the first images alone, by which a copy is checked quickly."""

    images: int
    value: float  # fraction


@dataclass(frozen=True)
class Card:
    """A model, what it reaches, and what both depend on."""

    model: CardModel
    evaluation: CardEvaluation
    training: CardTraining | None = None
    first_images: FirstImagesAP | None = None
    # Rows of `posebench speed`: metric, value, unit, low, high, hardware, ... Not verified.
    speed: list[dict[str, Any]] = field(default_factory=list)
    protocol_version: int | None = None
    card_version: int = CARD_VERSION

    # What most readers ask of a card; AP in percent, rounded as it is printed.

    @property
    def main(self) -> tuple[str, float]:
        """The name of the main metric, and its value as a fraction."""
        return next(iter(self.evaluation.metrics.items()))

    @property
    def recipe(self) -> str:
        return self.model.name

    @property
    def dataset(self) -> str:
        return self.evaluation.dataset_name or self.evaluation.dataset

    @property
    def split(self) -> str:
        return self.evaluation.split

    @property
    def images(self) -> int:
        return self.evaluation.images

    @property
    def ap(self) -> float:
        return _percent(self.main[1])

    @property
    def ap_low(self) -> float:
        return _percent(self.evaluation.intervals[self.main[0]][0])

    @property
    def ap_high(self) -> float:
        return _percent(self.evaluation.intervals[self.main[0]][1])

    @property
    def sha256(self) -> str:
        return self.model.weights.sha256 if self.model.weights else ""

    @property
    def command(self) -> str:
        return self.training.command if self.training else ""

    @property
    def commit(self) -> str:
        return self.training.commit if self.training else ""

    @property
    def seed(self) -> int | None:
        return self.training.seed if self.training else None

    @property
    def hardware(self) -> str:
        return self.training.hardware if self.training else ""

    @property
    def date(self) -> str:
        return self.training.date if self.training else self.evaluation.date

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, without what is not known."""
        known: dict[str, Any] = _known(self)
        first = ("card_version", "protocol_version")
        return {name: known.pop(name) for name in first if name in known} | known

    def text(self) -> str:
        """Return the content of its file."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"


def read_card_file(path: Path) -> Card:
    """Return the card in a file, or `card.json` in a folder; also of earlier versions.

    Raises:
        DataError: there is no card, or a field is missing or wrong.
    """
    path = path / "card.json" if path.is_dir() else path
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise DataError(
            f"Expected a card at {path}, but found nothing there: write one with `posebench card "
            "RUN`, or check the path."
        ) from None
    except ValueError as error:
        raise DataError(
            f"Expected a card in JSON at {path}, but it cannot be read ({error}): copy it again, "
            "or write it anew with `posebench card RUN`."
        ) from None
    return card_from_json(values, path)


def card_from_json(values: Any, source: Path) -> Card:
    """Return the card that JSON values stand for; `source` is for messages.

    Raises:
        DataError: a field is missing or wrong, or the card is of a later version.
    """
    if isinstance(values, dict) and "check_ap" in values and "model" not in values:
        values = _of_first_form(values)
    version = values.get("card_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > CARD_VERSION:
        raise DataError(
            f"The card {source} has the form {version}, and this posebench reads forms up to "
            f"{CARD_VERSION}: install a later posebench."
        )
    try:
        card = msgspec.convert(values, Card)
        card.main  # noqa: B018
    except (msgspec.ValidationError, StopIteration) as error:
        raise DataError(
            f"Expected a card of `posebench card` at {source}, but {str(error) or 'no metrics'}: "
            "write it anew from its run."
        ) from None
    return card


def _of_first_form(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a card of earlier versions, flat, with AP rounded in percent."""

    def share(name: str) -> float:
        return round(float(old[name]) / 100, 6)

    try:
        return {
            "card_version": CARD_VERSION,
            "model": {
                "name": old["recipe"],
                "weights": {"file": f"{old['recipe']}.safetensors", "sha256": old["sha256"]},
            },
            "training": {
                name: old[name] for name in ("command", "commit", "seed", "hardware", "date")
            }
            | {"dataset": old["dataset"]},
            "evaluation": {
                "dataset": old["dataset"],
                "split": old["split"],
                "images": old["images"],
                "tta": old["tta"],
                "precision": "fp32",
                "metrics": {"AP": share("ap")},
                "intervals": {"AP": [share("ap_low"), share("ap_high")]},
                "decimals": 1,
                "seeds": {"bootstrap": 0},
            },
            "first_images": {"images": old["check_images"], "value": share("check_ap")},
        }
    except (KeyError, TypeError):
        return dict(old)  # whose missing field is named when it is converted


def _known(value: Any) -> Any:
    """Return a value as JSON, without fields that are empty or as by default."""
    if is_dataclass(value) and not isinstance(value, type):
        found = {one.name: _known(getattr(value, one.name)) for one in fields(value)}
        kept = ("card_version", "batch_size")
        defaults = {one.name: one.default for one in fields(value)}
        return {
            name: own
            for name, own in found.items()
            if name in kept or (own not in (None, "", {}, []) and own != defaults[name])
        }
    if isinstance(value, Mapping):
        return {name: _known(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [_known(own) for own in value]
    return value


def _percent(fraction: float) -> float:
    return round(100 * fraction, 1)
