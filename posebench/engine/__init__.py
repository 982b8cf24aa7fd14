"""Training, evaluation, checkpoints and run folders; names no method."""

from posebench.engine.checkpoint import Checkpoint, find_checkpoint, read_checkpoint
from posebench.engine.evaluate import (
    Evaluation,
    check_recipe,
    evaluate,
    evaluate_file,
    evaluate_ideal,
    inference_model,
    main_metric,
    score,
)
from posebench.engine.log import read_log
from posebench.engine.runs import (
    has_bf16,
    latest_run,
    new_run,
    tidy_rows,
    write_recipe,
    write_results,
)
from posebench.engine.tensorboard import TensorBoard
from posebench.engine.train import Interrupted, TrainOptions, interruptible, train
from posebench.engine.weights import find_model

__all__ = [
    "Checkpoint",
    "Evaluation",
    "Interrupted",
    "TensorBoard",
    "TrainOptions",
    "check_recipe",
    "evaluate",
    "evaluate_file",
    "evaluate_ideal",
    "find_checkpoint",
    "find_model",
    "has_bf16",
    "inference_model",
    "interruptible",
    "latest_run",
    "main_metric",
    "new_run",
    "read_checkpoint",
    "read_log",
    "score",
    "tidy_rows",
    "train",
    "write_recipe",
    "write_results",
]
