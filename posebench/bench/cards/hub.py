"""The page that model hubs show beside a model: Markdown behind a head of YAML.

The head has the fields of the hub's documentation of model cards
(https://huggingface.co/docs/hub/model-cards), among them `model-index`, which a hub shows as a
table of results. Data sets are named in it, but not as ids of a hub, which checks those.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from posebench.card import Card
from posebench.metrics.names import main_parts

_TASK = {"type": "keypoint-detection", "name": "Multi-person pose estimation"}
_SHOWN_TIMES = ("latency_p50", "latency_p95", "fps", "peak_MB", "params_M", "gmacs")


def readme(card: Card) -> str:
    """Return the page of a card."""
    head = yaml.safe_dump(front_matter(card), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{head}---\n\n{_body(card)}"


def front_matter(card: Card) -> dict[str, Any]:
    """Return the head of the page, without what is not known."""
    evaluation = card.evaluation
    names = [card.main[0], *main_parts(evaluation.metrics)]
    dataset: dict[str, Any] = {
        "type": _identifier(card.dataset),
        "name": _where(card),
        "split": evaluation.split,
    }
    known = {"images": evaluation.images, "data_hash": evaluation.data_hash}
    if args := {name: value for name, value in known.items() if value}:
        dataset["args"] = args
    metrics = [
        {
            "type": name,
            "value": round(100 * evaluation.metrics[name], 2),
            "name": f"{name}, %{_limits(card, name)}",
        }
        for name in dict.fromkeys(names)
        if evaluation.metrics[name] >= 0
    ]
    head: dict[str, Any] = {}
    if card.model.licence:  # in its own words, which are no identifier of the hub's list
        head |= {"license": "other", "license_name": _identifier(card.model.licence)}
    head |= {
        "library_name": "posebench",
        "pipeline_tag": _TASK["type"],
        "tags": list(filter(None, ("human-pose-estimation", card.model.method.replace("_", "-")))),
    }
    result = {"task": dict(_TASK), "dataset": dataset, "metrics": metrics}
    return {**head, "model-index": [{"name": card.model.name, "results": [result]}]}


def _where(card: Card) -> str:
    """Return the data in words; part of a split is never taken for the whole."""
    evaluation = card.evaluation
    part = "" if evaluation.limit is None else f"[:{evaluation.limit}]"
    return f"{card.dataset} {evaluation.split}{part}"


def _identifier(text: str) -> str:
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-")


def _limits(card: Card, name: str) -> str:
    if name not in card.evaluation.intervals:
        return ""
    low, high = (100 * limit for limit in card.evaluation.intervals[name])
    return f" (95 % interval {low:.1f} to {high:.1f})"


def _body(card: Card) -> str:
    evaluation, model = card.evaluation, card.model
    lines = [f"# {model.name}", ""]
    images = f", {evaluation.images} images" if evaluation.images else ""
    lines += [
        f"Evaluated by posebench on {_where(card)}{images}.",
        "",
        "| metric | % |",
        "| --- | ---: |",
    ]
    for name in dict.fromkeys([card.main[0], *main_parts(evaluation.metrics)]):
        value = evaluation.metrics[name]
        shown = "–" if value < 0 else f"{100 * value:.1f}{_limits(card, name)}"
        lines.append(f"| {name} | {shown} |")
    if model.weights:
        weights = Path(model.weights.file).name
        use = f"posebench viz image.jpg --model {weights}"
        lines += ["", "## Use", "", "```", use, "posebench verify card.json", "```"]
    else:
        lines += ["", "## Check", "", "```", "posebench verify card.json", "```"]
    lines += ["", "## What the numbers depend on", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in _facts(card) if value]
    if card.speed:
        lines += ["", "## Time and memory", "", "Measured where the table says; they are not "
                  "verified.", "", "| metric | value | on |", "| --- | ---: | --- |"]  # fmt: skip
        lines += [
            f"| {row['metric']}{_backend(row)} | {row['value']:.4g} {row.get('unit', '')}"
            f"{_of_row(row)} | {_cell(row.get('hardware', ''))}, {row.get('precision', '')}, "
            f"{row.get('protocol', '')} |"
            for row in card.speed
            if row["metric"] in _SHOWN_TIMES
        ]
    return "\n".join(lines) + "\n"


def _backend(row: dict[str, Any]) -> str:
    name = row.get("backend", "torch")
    return "" if name in ("", "torch") else f" ({name})"


def _of_row(row: dict[str, Any]) -> str:
    if "low" not in row or "high" not in row:
        return ""
    return f" ({row['low']:.4g} to {row['high']:.4g})"


def _facts(card: Card) -> list[tuple[str, str]]:
    evaluation, model, training = card.evaluation, card.model, card.training
    facts = [
        ("licence", model.licence),
        ("views merged", evaluation.tta),
        ("precision", evaluation.precision),
        ("computed by", evaluation.backend),
        ("protocol version", str(card.protocol_version or "")),
        ("recipe", model.recipe_hash),
        ("data", evaluation.data_hash),
        ("weights, SHA-256", card.sha256),
        ("seeds", ", ".join(f"{name} {seed}" for name, seed in evaluation.seeds.items())),
        ("evaluated on", evaluation.environment.hardware),
        ("evaluated", evaluation.date),
    ]
    if training:
        facts += [
            ("trained by", f"`{training.command}`" if training.command else ""),
            ("trained on", ", ".join(filter(None, (training.dataset, training.hardware)))),
            ("trained", training.date),
            ("commit of the training", training.commit),
        ]
    return facts


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|")
