"""Trained weights made ready to ship: parameters in half precision, and a card of what they reach.

The card's figures are those of the packed file, not of the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from posebench.bench.cards.making import command_of, environment_of
from posebench.bench.draws import SEED
from posebench.bench.statistics import ap_interval
from posebench.card import (
    Card,
    CardEvaluation,
    CardFile,
    CardModel,
    CardTraining,
    FirstImagesAP,
)
from posebench.data import PoseDataset
from posebench.data.limited import FirstImages
from posebench.engine.checkpoint import Checkpoint, TrainingState, read_checkpoint, write_checkpoint
from posebench.engine.evaluation import evaluate
from posebench.engine.provenance import PROTOCOL_VERSION, data_hash, recipe_hash
from posebench.engine.runs import hardware
from posebench.errors import ModelError
from posebench.files import file_sha256
from posebench.metrics import evaluate_poses, main_metric
from posebench.metrics.resampling import matches
from posebench.shipped import CHECK_IMAGES


def pack_weights(
    run: Path,
    dataset: PoseDataset,
    folder: Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Card:
    """Write a run's best weights in half precision, evaluate them, and write their card.

    Args:
        run: the folder of a finished training.
        dataset: the images to evaluate on, on the CPU.
        folder: where RECIPE.safetensors and RECIPE.json are written.
        progress: is called with the number of images done and the number of all images.

    Raises:
        ModelError: the folder is not that of a training.
    """
    best = read_checkpoint(run)
    made = _made(run, best)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{best.recipe.name}.safetensors"
    kept = ("step", "epoch", "dataset", "limit", "licence", "seed")
    facts = {name: best.facts[name] for name in kept if name in best.facts}
    write_checkpoint(path, half_precision(best), best.recipe, best.skeleton, facts)

    packed = read_checkpoint(path)
    inference = packed.recipe.inference
    packed_model = packed.model()
    evaluation = evaluate(packed_model, dataset, inference, progress=progress)
    truth = dataset.ground_truth()
    interval = ap_interval(matches(truth, evaluation.results, dataset.protocol))
    name, _ = main_metric(evaluation.metrics)
    card = Card(
        model=CardModel(packed.recipe.name, licence=best.facts.get("licence", "")),
        evaluation=CardEvaluation(
            dataset=dataset.reference,
            split=dataset.split,
            images=len(dataset),
            metrics=evaluation.metrics,
            intervals={name: (interval.low, interval.high)},
            seeds={"bootstrap": SEED},
            tta=inference.label,
            precision="fp32",
            unreadable=len(evaluation.unreadable),
            date=datetime.now().date().isoformat(),
            seconds=round(evaluation.seconds, 1),
            environment=environment_of(hardware(packed_model.device)),
        ),
        training=CardTraining(**made, dataset=best.trained_on),
        first_images=FirstImagesAP(
            min(CHECK_IMAGES, len(dataset)), _ap_of_first(evaluation.results, dataset)
        ),
    )
    card = with_hashes(card, packed, dataset)
    (folder / f"{card.recipe}.json").write_text(card.text(), encoding="utf-8")
    return card


def with_hashes(card: Card, packed: Checkpoint, dataset: PoseDataset) -> Card:
    """Return a card with the hashes of its weights, its recipe and its data, and the protocol.

    Args:
        card: of packed weights.
        packed: the file, beside which the card lies.
        dataset: on which they were evaluated.
    """
    model = replace(
        card.model,
        method=packed.recipe.method,
        weights=CardFile(packed.path.name, file_sha256(packed.path)),
        recipe_hash=recipe_hash(packed.recipe, packed.skeleton),
    )
    seeds = dict(card.evaluation.seeds)
    if dataset.seed is not None:
        seeds["images"] = dataset.seed
    evaluation = replace(card.evaluation, data_hash=data_hash(dataset), seeds=seeds)
    return replace(card, model=model, evaluation=evaluation, protocol_version=PROTOCOL_VERSION)


def half_precision(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the weights with parameters in float16.

    Statistics of batch norms keep float32, since variances may lie outside float16's range.
    """
    with torch.device("meta"):
        model = checkpoint.recipe.build(checkpoint.skeleton)
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return {
        name: value.half() if name in parameters else value
        for name, value in checkpoint.weights.items()
    }


def _made(run: Path, best: Checkpoint) -> dict[str, Any]:
    """Return how a training was made: the command, commit, seed, hardware and date of its card."""
    try:
        last, _ = TrainingState(run / "checkpoints").read()
        environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
        threads = environment["cpu_threads"]
        cpu = f"{environment['cpu']}, {threads} thread{'' if threads == 1 else 's'}"
        return {
            "command": command_of(environment["command"]),
            "commit": environment["commit"],
            "seed": last.facts["seed"],
            "hardware": ", ".join(environment["gpus"]) or cpu,
            "date": environment["time"][:10],
        }
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"Expected the run folder of a training at {run}, but its files say too little "
            f"({error!r}): train anew and pack that run."
        ) from error


def _ap_of_first(results: Sequence[dict[str, Any]], dataset: PoseDataset) -> float:
    """Return the AP on the first images alone."""
    truth = FirstImages(dataset, CHECK_IMAGES).ground_truth()
    ids = {truth.image_id(index) for index in range(truth.num_images)}
    own = [result for result in results if result["image_id"] in ids]
    return main_metric(evaluate_poses(truth, own, dataset.protocol))[1]
