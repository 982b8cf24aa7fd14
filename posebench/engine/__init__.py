"""Training, evaluation, checkpoints and run folders; names no method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.engine.backend_names import (
        BACKENDS,
        backend_of,
        check_backend,
        check_installed,
    )
    from posebench.engine.backends import fastest_backend, on_backend, placed
    from posebench.engine.checkpoint import Checkpoint, read_checkpoint
    from posebench.engine.devices import default_workers, has_bf16, pick_device, pick_precision
    from posebench.engine.evaluation import (
        Evaluation,
        check_buildable,
        evaluate,
        evaluate_file,
        evaluate_ideal,
        evaluate_predictor,
        fit_recipe,
        inference_model,
        score,
    )
    from posebench.engine.interrupts import Interrupted, interruptible
    from posebench.engine.length import fit_length, of_steps, with_warmup_of
    from posebench.engine.log import read_log
    from posebench.engine.lookup import find_model
    from posebench.engine.model import Model
    from posebench.engine.predicting import Predicting, as_rgb
    from posebench.engine.predictor import PREDICTORS, Predictor, find_predictor
    from posebench.engine.provenance import Provenance, data_hash, provenance_of
    from posebench.engine.request import (
        TrainingRequest,
        default_recipe,
        find_request,
        new_training,
        resumed_training,
        saved_recipe,
        unknown_request,
        world,
    )
    from posebench.engine.runs import (
        evaluated_weights,
        find_checkpoint,
        latest_run,
        new_run,
        removed_unless_begun,
        tidy_rows,
        trained_on,
        training_seed,
        write_evaluation,
        write_recipe,
        write_results,
    )
    from posebench.engine.tensorboard import TensorBoard
    from posebench.engine.training import TrainOptions, train

__all__ = [
    "BACKENDS",
    "PREDICTORS",
    "Checkpoint",
    "Evaluation",
    "Interrupted",
    "Model",
    "Predicting",
    "Predictor",
    "Provenance",
    "TensorBoard",
    "TrainOptions",
    "TrainingRequest",
    "as_rgb",
    "backend_of",
    "check_backend",
    "check_buildable",
    "check_installed",
    "data_hash",
    "default_recipe",
    "default_workers",
    "evaluate",
    "evaluate_file",
    "evaluate_ideal",
    "evaluate_predictor",
    "evaluated_weights",
    "fastest_backend",
    "find_checkpoint",
    "find_model",
    "find_predictor",
    "find_request",
    "fit_length",
    "fit_recipe",
    "has_bf16",
    "inference_model",
    "interruptible",
    "latest_run",
    "new_run",
    "new_training",
    "of_steps",
    "on_backend",
    "pick_device",
    "pick_precision",
    "placed",
    "provenance_of",
    "read_checkpoint",
    "read_log",
    "removed_unless_begun",
    "resumed_training",
    "saved_recipe",
    "score",
    "tidy_rows",
    "train",
    "trained_on",
    "training_seed",
    "unknown_request",
    "with_warmup_of",
    "world",
    "write_evaluation",
    "write_recipe",
    "write_results",
]

__getattr__ = lazy_names(
    __name__,
    backend_names=("BACKENDS", "backend_of", "check_backend", "check_installed"),
    backends=("fastest_backend", "on_backend", "placed"),
    checkpoint=("Checkpoint", "read_checkpoint"),
    devices=("default_workers", "has_bf16", "pick_device", "pick_precision"),
    evaluation=(
        "Evaluation",
        "check_buildable",
        "fit_recipe",
        "evaluate",
        "evaluate_file",
        "evaluate_ideal",
        "evaluate_predictor",
        "inference_model",
        "score",
    ),
    interrupts=("Interrupted", "interruptible"),
    length=("fit_length", "of_steps", "with_warmup_of"),
    log=("read_log",),
    lookup=("find_model",),
    model=("Model",),
    predicting=("Predicting", "as_rgb"),
    predictor=("PREDICTORS", "Predictor", "find_predictor"),
    provenance=("Provenance", "data_hash", "provenance_of"),
    request=(
        "TrainingRequest",
        "default_recipe",
        "find_request",
        "new_training",
        "resumed_training",
        "saved_recipe",
        "unknown_request",
        "world",
    ),
    runs=(
        "evaluated_weights",
        "find_checkpoint",
        "latest_run",
        "new_run",
        "removed_unless_begun",
        "tidy_rows",
        "trained_on",
        "training_seed",
        "write_evaluation",
        "write_recipe",
        "write_results",
    ),
    tensorboard=("TensorBoard",),
    training=("TrainOptions", "train"),
)
