"""posebench: multi-person pose estimators under one protocol.

    import posebench

    model = posebench.load_model("runs/train/...")
    people = model.predict("image.jpg")

See docs/python.md. Names are imported when they are first used, so that starting stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.api.comparison import Comparison, ErrorAnalysis, analyze, compare
    from posebench.api.datasets import open_dataset
    from posebench.api.evaluation import evaluate
    from posebench.api.exporting import export
    from posebench.api.models import list_models, load_model, load_plugin
    from posebench.api.prediction import predict
    from posebench.api.run import Run
    from posebench.api.training import train
    from posebench.engine.model import Model
    from posebench.engine.predictor import Predictor
    from posebench.skeleton import Skeleton
    from posebench.structures import PosePredictions
    from posebench.viz.single import draw

    __version__: str

__all__ = [
    "Comparison",
    "ErrorAnalysis",
    "Model",
    "PosePredictions",
    "Predictor",
    "Run",
    "Skeleton",
    "__version__",
    "analyze",
    "compare",
    "draw",
    "evaluate",
    "export",
    "list_models",
    "load_model",
    "load_plugin",
    "open_dataset",
    "predict",
    "train",
]

_public = lazy_names(
    __name__,
    structures=("PosePredictions", "Skeleton"),
    **{
        "api.comparison": ("Comparison", "ErrorAnalysis", "analyze", "compare"),
        "api.datasets": ("open_dataset",),
        "api.evaluation": ("evaluate",),
        "api.exporting": ("export",),
        "api.models": ("list_models", "load_model", "load_plugin"),
        "api.prediction": ("predict",),
        "api.run": ("Run",),
        "api.training": ("train",),
        "engine.model": ("Model",), "engine.predictor": ("Predictor",), "viz.single": ("draw",),
    },
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from posebench.version import package_version

        return package_version()
    return _public(name)


def __dir__() -> list[str]:
    return sorted(__all__)
