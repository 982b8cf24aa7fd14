"""Checks a card: files and data by their hashes, scores of its result file, predictions anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

import torch

from posebench.bench.cards.making import environment_of
from posebench.bench.cards.places import Given, find_data, find_file
from posebench.card import Card, CardEnvironment, read_card_file
from posebench.data import PoseDataset
from posebench.engine import (
    Evaluation,
    data_hash,
    default_workers,
    evaluate,
    evaluate_file,
    evaluate_ideal,
    evaluate_predictor,
    find_predictor,
    pick_device,
    placed,
    read_checkpoint,
)
from posebench.engine.checkpoint import Checkpoint
from posebench.engine.exported import read_exported
from posebench.engine.provenance import PROTOCOL_VERSION, weights_hash
from posebench.engine.runs import hardware
from posebench.engine.weights import fetch_published
from posebench.errors import ModelError, PosebenchError
from posebench.exporting import is_exported
from posebench.files import file_sha256
from posebench.models import saved_base
from posebench.published import find_published
from posebench.recipe import Precision, Recipe, recipe_from_json

Verdict = Literal["holds", "fails", "untested"]

EXACT = 1e-6  # as fractions; of scores, and of predictions where nothing else differs
NEAR = 0.001  # 0.1 in percent; of the main metric, where hardware or versions differ
_ROUNDING = 1e-9

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Part:
    """One thing that a card says, and what was found here."""

    name: str
    verdict: Verdict
    card: str = ""
    here: str = ""
    note: str = ""  # the tolerance, or what is missing and what to do


@dataclass(frozen=True)
class CardCheck:
    """What became of each part of a card."""

    card: Card
    parts: tuple[Part, ...]
    differences: tuple[str, ...]  # of hardware and versions, there and here
    shown: tuple[str, ...]  # times and memory, which are not verified


def check_card(
    path: Path,
    given: Given = Given(),  # noqa: B008 - a frozen value
    *,
    device: str = "auto",
    predict: bool = True,
    progress: Progress = lambda done, total: None,
) -> CardCheck:
    """Check what a card says, as far as its files and data are here.

    Args:
        path: of the card, or of the folder with `card.json`.
        given: where files and data are, if not where the card says.
        device: to predict on.
        predict: False: scores are checked alone, which takes seconds.
        progress: is called with the number of images predicted and of all.

    Raises:
        DataError: there is no card, or it is damaged.
        UsageError: there is no such device.
    """
    card = read_card_file(path)
    folder = path if path.is_dir() else path.parent
    place = pick_device("cpu" if _is_elsewhere(card) else device)
    differences = _differences(card, environment_of(hardware(place)))
    dataset, data = _data(card, folder, given)
    weights_path, weights = _weights(card, folder, given)
    parts = [*weights, data, _scored(card, folder, given, dataset)]
    shown = [f"{_words(row)}" for row in card.speed if row.get("metric") in _SHOWN]
    if predict and card.model.kind != "file":
        part, seconds = _predicted(
            card, weights_path, weights, dataset, place, differences, progress
        )
        parts.append(part)
        if card.evaluation.seconds is not None and seconds is not None:
            there = card.evaluation.seconds
            shown.insert(0, f"evaluated in {there:.1f} s there, {seconds:.1f} s here")
    return CardCheck(card, tuple(parts), tuple(differences), tuple(shown))


_SHOWN = ("latency_p50", "fps", "peak_MB")


def _is_elsewhere(card: Card) -> bool:
    """Return whether another backend than PyTorch computed the network, which is on the CPU."""
    return card.evaluation.backend not in ("", "torch")


def _words(row: Mapping[str, object]) -> str:
    backend = row.get("backend", "torch")
    name = row["metric"] if backend in ("", "torch") else f"{row['metric']} ({backend})"
    return f"{name} {row['value']:.4g} {row.get('unit', '')} on {row.get('hardware', '')}"


# ------------------------------------------------------------------------------ weights and data


def _weights(card: Card, folder: Path, given: Given) -> tuple[Path | None, list[Part]]:
    own = card.model.weights
    if own is None:
        return None, []
    path = find_file(folder, own.file, given.weights)
    entry = find_published(card.model.published) if card.model.published else None
    if given.weights is None and entry is not None and entry.here:
        path = entry.path
    if path is None:
        advice = (
            f"get it with `posebench weights download {card.model.published}`"
            if card.model.published
            else "put it beside the card, or name it with --weights"
        )
        note = f"The weights file {Path(own.file).name} is not here: {advice}."
        return None, [Part("weights", "untested", own.sha256[:12], "", note)]
    digest = weights_hash(path)
    if own.sha256 and digest != own.sha256:
        note = f"{path} is another file than the one that was evaluated."
        return None, [Part("weights", "fails", own.sha256[:12], digest[:12], note)]
    return path, [Part("weights", "holds", own.sha256[:12], digest[:12], "SHA-256")]


def _data(card: Card, folder: Path, given: Given) -> tuple[PoseDataset | None, Part]:
    evaluation = card.evaluation
    where = "or name where they are with --data-root, --annotations or --images."
    try:
        spare = _recipe(card).skeleton if card.model.recipe else None
        dataset = find_data(evaluation, folder, given, spare)
        digest = data_hash(dataset)
    except PosebenchError as error:
        note = f"The data are not here. {error} {where[0].upper()}{where[1:]}"
        return None, Part("data", "untested", evaluation.data_hash, "", note)
    if not evaluation.data_hash:
        return dataset, Part("data", "untested", "", digest, "The card has no hash of its data.")
    if digest != evaluation.data_hash:
        note = (
            f"{dataset.name} {dataset.split} has other annotations, images or rules here: get the "
            f"data of the card, {where}"
        )
        return None, Part("data", "fails", evaluation.data_hash, digest, note)
    return dataset, Part("data", "holds", evaluation.data_hash, digest, "annotations and rules")


# --------------------------------------------------------------------------------------- numbers


def _scored(card: Card, folder: Path, given: Given, dataset: PoseDataset | None) -> Part:
    name, own = "scored again", card.evaluation.results
    if own is None and given.results is None:
        return Part(
            name, "untested", note="The card has no result file: evaluate the model with "
            "`posebench eval`, and write the card of that run.",
        )  # fmt: skip
    path = find_file(folder, own.file if own else "", given.results)
    if path is None:
        file = Path(own.file).name if own else str(given.results)
        advice = "put it beside the card, or name it with --results."
        return Part(name, "untested", note=f"The result file {file} is not here: {advice}")
    if dataset is None:
        return Part(name, "untested", note="It needs the card's data, see above.")
    try:
        found = evaluate_file(path, dataset).metrics
    except PosebenchError as error:
        return Part(name, "fails", note=str(error))
    changed = ""
    if own is not None and own.sha256 and file_sha256(path) != own.sha256:
        changed = f" {path.name} has changed since the card was written."
    return _compared(name, card, found, EXACT, "to 1e-6", changed)


def _predicted(
    card: Card,
    weights: Path | None,
    checked: list[Part],
    dataset: PoseDataset | None,
    device: torch.device,
    differences: list[str],
    progress: Progress,
) -> tuple[Part, float | None]:
    name = "predicted again"
    missing = [one for one in checked if one.verdict != "holds"]
    if card.model.kind == "model" and (missing or not checked):
        needs = "It needs the card's weights, see above."
        none = (
            "The card names no weights: evaluate the model again, and write the card of that run."
        )
        return Part(name, "untested", note=needs if checked else none), None
    if dataset is None:
        return Part(name, "untested", note="It needs the card's data, see above."), None
    try:
        evaluation = _evaluate(card, weights, dataset, device, progress)
    except PosebenchError as error:
        return Part(name, "untested", note=str(error)), None
    if differences:
        part = _compared(name, card, evaluation.metrics, NEAR, "within 0.1", main_alone=True)
    else:
        part = _compared(name, card, evaluation.metrics, EXACT, "to 1e-6, on the same system")
    return part, evaluation.seconds


def _evaluate(
    card: Card,
    weights: Path | None,
    dataset: PoseDataset,
    device: torch.device,
    progress: Progress,
) -> Evaluation:
    """Predict and score as the card says.

    Raises:
        PosebenchError: something that it needs is not here.
    """
    evaluation, strict = card.evaluation, not card.evaluation.unreadable
    if card.model.kind == "predictor":
        predictor = find_predictor(card.model.name)
        if predictor is None:
            raise ModelError(
                f"The predictor {card.model.name} is not here: load its file with --plugin."
            )
        return evaluate_predictor(
            predictor, dataset, batch_size=evaluation.batch_size, strict=strict, progress=progress
        )
    if card.model.kind == "oracle":
        return evaluate_ideal(_recipe(card), dataset, progress=progress)
    assert weights is not None  # asked for before
    recorded = evaluation.precision
    precision = cast(Precision, recorded if recorded in get_args(Precision) else "fp32")
    checkpoint = _checkpoint(card, weights)
    # An exported file has its runtime already.
    backend = "torch" if is_exported(weights) else evaluation.backend or "torch"
    checkpoint, device = placed(checkpoint, str(device), precision, backend)
    return evaluate(
        checkpoint.model().to(device),
        dataset,
        checkpoint.recipe.inference,
        batch_size=evaluation.batch_size,
        workers=default_workers(device),
        precision=precision,
        strict=strict,
        progress=progress,
    )


def _checkpoint(card: Card, path: Path) -> Checkpoint:
    entry = find_published(card.model.published) if card.model.published else None
    if entry is not None and path == entry.path:
        checkpoint = fetch_published(entry)
    elif is_exported(path):
        checkpoint = read_exported(path)
    else:
        checkpoint = read_checkpoint(path)
    return checkpoint if card.model.recipe is None else replace(checkpoint, recipe=_recipe(card))


def _recipe(card: Card) -> Recipe:
    values = dict(card.model.recipe or {})
    plugin = values.pop("plugin", "")
    return recipe_from_json(values, saved_base(values.get("name"), plugin, Path(card.model.name)))


def _compared(
    name: str,
    card: Card,
    found: Mapping[str, float],
    tolerance: float,
    words: str,
    more: str = "",
    *,
    main_alone: bool = False,
) -> Part:
    """Compare metrics with those of the card."""
    own = card.evaluation.metrics
    decimals = card.evaluation.decimals
    if decimals is not None:  # what was rounded may be half a digit apart
        tolerance += 0.5 * 10.0 ** (-decimals - 2)
    main, value = card.main
    compared = {main: value} if main_alone else own
    apart = {
        metric: abs(found[metric] - expected) if metric in found else float("inf")
        for metric, expected in compared.items()
    }
    wrong = [metric for metric, gap in apart.items() if gap > tolerance + _ROUNDING]
    note = words
    if wrong:
        worst = max(wrong, key=lambda metric: apart[metric])
        missing = "is not measured here" if worst not in found else f"is {apart[worst]:.2g} apart"
        note = f"expected {words}: {worst} {missing}"
        note += f", {len(wrong)} of {len(compared)} metrics are" if len(wrong) > 1 else ""
    elif main in found and not main_alone:
        note += f", {len(compared)} {'metric' if len(compared) == 1 else 'metrics'}"
    here = f"{main} {100 * found[main]:.2f}" if main in found else ""
    return Part(
        name, "fails" if wrong else "holds", f"{main} {100 * value:.2f}", here, f"{note}.{more}"
    )


# ----------------------------------------------------------------------------------- environments


def _differences(card: Card, here: CardEnvironment) -> list[str]:
    """Return in which of hardware and versions this system differs from the card's."""
    there = card.evaluation.environment
    found = []
    if card.protocol_version is None:
        found.append("the card does not say by which version of the protocol it was measured")
    elif card.protocol_version != PROTOCOL_VERSION:
        found.append(f"protocol version {card.protocol_version}, here {PROTOCOL_VERSION}")
    if not there.hardware:
        found.append("the card does not say on which hardware it was evaluated")
    elif there.hardware != here.hardware:
        found.append(f"hardware {there.hardware}, here {here.hardware}")
    if not there.packages:
        found.append("the card does not say with which versions it was evaluated")
    for name, version in there.packages.items():
        if here.packages.get(name) != version:
            found.append(f"{name} {version}, here {here.packages.get(name, 'none')}")
    if there.python and there.python != here.python:
        found.append(f"python {there.python}, here {here.python}")
    if there.commit and here.commit and there.commit != here.commit:
        found.append(f"commit {there.commit}, here {here.commit}")
    return found
