"""Training, evaluation, checkpoints and run folders; names no method."""

from posebench.engine.checkpoint import Checkpoint, find_checkpoint, read_checkpoint
from posebench.engine.devices import default_workers, pick_device
from posebench.engine.evaluate import (
    Evaluation,
    check_recipe,
    evaluate,
    evaluate_file,
    evaluate_ideal,
    inference_model,
    score,
)
from posebench.engine.interrupts import Interrupted, interruptible
from posebench.engine.log import read_log
from posebench.engine.model import Model, as_rgb
from posebench.engine.runs import (
    has_bf16,
    latest_run,
    new_run,
    tidy_rows,
    write_evaluation,
    write_recipe,
    write_results,
)
from posebench.engine.tensorboard import TensorBoard
from posebench.engine.train import TrainOptions, train
from posebench.engine.weights import find_model
from posebench.metrics import main_metric

__all__ = [
    "Checkpoint",
    "Evaluation",
    "Interrupted",
    "Model",
    "TensorBoard",
    "TrainOptions",
    "as_rgb",
    "check_recipe",
    "default_workers",
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
    "pick_device",
    "read_checkpoint",
    "read_log",
    "score",
    "tidy_rows",
    "train",
    "write_evaluation",
    "write_recipe",
    "write_results",
]
