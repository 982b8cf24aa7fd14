"""The papers' ablations: trains and tests their variants, and tests the papers' ordering of them.

`configure` sets the options of a study, `run_study` runs it; `list_studies` lists them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.bench.ablation.analysis import Analysis
    from posebench.bench.ablation.catalogue import list_studies
    from posebench.bench.ablation.config import SYNTHETIC, StudyConfig, configure
    from posebench.bench.ablation.parallel import NullWatcher, Watcher
    from posebench.bench.ablation.study import StudyResult, run_study
    from posebench.bench.ablation.tasks import Task

__all__ = [
    "SYNTHETIC",
    "Analysis",
    "NullWatcher",
    "StudyConfig",
    "StudyResult",
    "Task",
    "Watcher",
    "configure",
    "list_studies",
    "run_study",
]

__getattr__ = lazy_names(
    __name__,
    analysis=("Analysis",),
    catalogue=("list_studies",),
    config=("SYNTHETIC", "StudyConfig", "configure"),
    parallel=("NullWatcher", "Watcher"),
    study=("StudyResult", "run_study"),
    tasks=("Task",),
)
