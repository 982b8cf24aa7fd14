"""Models by name: list them, add those of a plugin, load a trained one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, cast

from posebench.models import RECIPES
from posebench.plugins import PLUGINS
from posebench.recipe import check_precision, with_inference

if TYPE_CHECKING:
    from posebench.engine import Model
    from posebench.recipe import Precision


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the recipes that match a shell pattern such as `cid*`."""
    return [name for name in RECIPES if fnmatch(name, pattern)]


def load_plugin(file: str | Path) -> None:
    """Add the methods, datasets, metrics and predictors of a Python file, as `--plugin` does.

    Raises:
        UsageError: it is missing, fails, or declares nothing.
    """
    PLUGINS.load_file(file)


def load_model(
    model: str | Path,
    *,
    device: str = "auto",
    precision: str = "fp32",
    flip: bool | None = None,
    scales: Sequence[float] | None = None,
    backend: str = "torch",
) -> Model:
    """Return a trained model; `model.predict(image)` returns the people of an image.

    Args:
        model: a run folder, a checkpoint, an exported file, or a recipe whose weights can be
            downloaded.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; `auto` is a GPU where there is one.
        precision: `fp32`, `tf32`, `bf16` or `auto`, which is fp32 for predictions.
        flip: also predict on the mirrored image and merge both; None: as the recipe does.
        scales: factors on the recipe's input size, whose predictions are merged likewise; None: as
            the recipe does.
        backend: `torch`, `compile`, `onnxruntime`, `openvino`, or `auto`: the fastest here whose
            people equal PyTorch's. An exported file has its own.

    Raises:
        ModelError: there is no such model, or its file is damaged or of another version.
        UsageError: there is no such device, precision or backend.
        UnsupportedError: the backend is not installed, or lacks an operator.
    """
    check_precision(precision)
    from posebench import engine

    engine.check_backend(backend)
    engine.check_installed(backend, model)
    checkpoint = engine.find_model(str(model))
    recipe = with_inference(checkpoint.recipe, flip=flip, scales=scales)
    return engine.Model.of(
        replace(checkpoint, recipe=recipe), device=device, precision=eval_precision(precision),
        backend=backend,
    )  # fmt: skip


def eval_precision(name: str) -> Precision:
    """Return the precision of that name; `auto` is fp32: AP must not depend on the machine."""
    check_precision(name)
    return "fp32" if name == "auto" else cast("Precision", name)
