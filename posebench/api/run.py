"""The outcome of a training or an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from posebench.api.models import load_model
from posebench.errors import UsageError
from posebench.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from posebench.bench.intervals import MetricInterval
    from posebench.data import PoseDataset
    from posebench.engine import Model
    from posebench.engine.evaluation import Evaluation


@dataclass(frozen=True)
class Run:
    """The outcome of a training or an evaluation."""

    evaluation: Evaluation
    dataset: PoseDataset  # the one it was evaluated on
    recipe: Recipe | None  # None: a result file was scored
    rows: pd.DataFrame  # tidy: a row for each metric
    folder: Path | None  # None: nothing was written
    interval: MetricInterval | None = None  # of the AP over images; None: it has none

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics by name as fractions, the main one first; -1: no ground truth to detect."""
        return self.evaluation.metrics

    def load_model(self, *, device: str = "auto", precision: str = "fp32") -> Model:
        """Return the model that was trained, with its best weights.

        Raises:
            UsageError: nothing was trained.
        """
        if self.folder is None:
            raise UsageError("This run has written no checkpoint: it was an evaluation.")
        return load_model(self.folder, device=device, precision=precision)
