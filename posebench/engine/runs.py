"""Run folders: the results of a command, and how they were made."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.engine.backend_names import EXPORTED
from posebench.engine.devices import cpu_info
from posebench.engine.provenance import Provenance
from posebench.errors import ModelError, PosebenchError, command_line
from posebench.files import atomic_write, read_json, write_json
from posebench.metrics import ResultFile
from posebench.models import plugin_of
from posebench.plugins import PLUGINS
from posebench.recipe import Recipe, recipe_to_json
from posebench.skeleton import Skeleton

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from posebench.data import PoseDataset
    from posebench.engine.evaluation import Evaluation

_PACKAGES = ("posebench", "torch", "torchvision", "timm", "numpy", "opencv-python-headless")


def new_run(root: Path, command: str, label: str, dataset: str) -> Path:
    """Make and return the folder `root/command/label_dataset_time/`; rank 0 makes it.

    Raises:
        PosebenchError: the folder cannot be made.
    """
    from posebench.distributed import broadcast_object, rank

    folder = root
    if rank() == 0:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = _make(root / command, f"{label}_{dataset}_{stamp}")
        write_json(folder / "environment.json", environment())
    return broadcast_object(folder)


def _make(parent: Path, name: str) -> Path:
    """Make a new folder; if the name is taken, a number is appended."""
    folder, number = parent / name, 1
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
                folder = parent / f"{name}-{number}"
            else:
                return folder
    except OSError as error:
        raise PosebenchError(
            f"{folder} cannot be written ({error.strerror}): choose another folder."
        ) from error


@contextmanager
def removed_unless_begun(run: Path) -> Iterator[None]:
    """Remove a new training's folder if an error ends the context before its recipe is written.

    Until then it has no weights to begin with, and the folder says nothing that the command and
    its message do not.
    """
    from posebench.distributed import rank

    try:
        yield
    except PosebenchError:
        if rank() == 0 and not (run / "recipe.json").exists():
            shutil.rmtree(run, ignore_errors=True)
            for parent in run.parents[:2]:  # ROOT/train and ROOT, where nothing else is in them
                with suppress(OSError):
                    parent.rmdir()
        raise


class RunLocked(PosebenchError):
    """Another process is training in the folder."""


@contextmanager
def lock_run(run: Path) -> Iterator[None]:
    """Lock a run folder against other processes while the context lasts; rank 0 holds the lock.

    Raises:
        RunLocked: another process is training in the folder.
        PosebenchError: the folder cannot be written.
    """
    from posebench.distributed import rank

    if rank() > 0:
        yield
        return
    try:
        run.mkdir(parents=True, exist_ok=True)
        # The folder itself is locked, so no lock file is left behind; the system releases the lock
        # however the process ends.
        handle = os.open(run, os.O_RDONLY)
    except OSError as error:
        raise PosebenchError(
            f"{run} cannot be written ({error.strerror}): choose another folder."
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise RunLocked(
            f"Another process is training in {run}: wait for it or stop it, or start a new run."
        ) from None
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        # Some network file systems cannot lock folders; there, two processes can collide.
    try:
        yield
    finally:
        os.close(handle)


def write_recipe(run: Path, recipe: Recipe, skeleton: Skeleton) -> None:
    """Write the fully resolved recipe, and the plugin that its method comes from."""
    plugin = plugin_of(recipe)
    own = {"plugin": plugin} if plugin else {}
    write_json(run / "recipe.json", recipe_to_json(recipe, skeleton) | own)


def has_checkpoint(run: Path) -> bool:
    """Return whether a training can be continued."""
    return (run / "checkpoints" / "last.safetensors").is_file()


def resume_words(run: Path) -> tuple[str, ...]:
    """Return the words after `posebench` that continue a training."""
    plugins = [word for file in PLUGINS.files for word in ("--plugin", str(file))]
    return (*plugins, "train", "--resume", str(run))


def resume_command(run: Path) -> str:
    """Return the command that continues a training, for messages."""
    return command_line("posebench", *resume_words(run))


def latest_run(
    root: Path, command: str, *, accepts: Callable[[Path], bool] = lambda run: True
) -> Path | None:
    """Return the newest run of a command with a checkpoint that is accepted, or None."""
    runs = [path.parents[1] for path in (root / command).glob("*/checkpoints/last.safetensors")]
    newest_first = sorted(runs, key=lambda run: run.stat().st_mtime, reverse=True)
    return next(filter(accepts, newest_first), None)


def trained_on(run: Path) -> str:
    """Return the dataset that a run with a checkpoint was trained on; empty: it does not say.

    A damaged checkpoint does not say either.
    """
    return str(checkpoint_facts(find_checkpoint(run)).get("dataset", ""))


def first_row(run: Path) -> dict[str, str]:
    """Return the first of a run's tidy rows, which says what all depend on; empty: it has none."""
    import pandas as pd

    path = run / "results.csv"
    if not path.is_file():
        return {}
    rows = pd.read_csv(path, dtype=str, keep_default_na=False, nrows=1)
    return {} if rows.empty else {str(name): str(rows[name].iloc[0]) for name in rows}


def checkpoint_facts(path: Path) -> dict[str, Any]:
    """Return the facts in a checkpoint's header, which alone is read; none if it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {}).get("facts", "{}"))
    except (SafetensorError, OSError, ValueError):
        return {}
    return facts


def training_seed(path: Path, facts: Mapping[str, Any]) -> int | None:
    """Return the seed of the training that a checkpoint comes from; None: it is not known.

    Args:
        path: of the checkpoint.
        facts: that it has.
    """
    from posebench.shipped import FOLDER, read_card

    seed = facts.get("seed")
    if seed is None and path.parent == FOLDER:
        seed = read_card(path.stem).seed
    if seed is None and path.parent.name == "checkpoints":  # a best one of an earlier version
        seed = checkpoint_facts(path.with_name("last.safetensors")).get("seed")
    return seed


def evaluated_weights(run: Path) -> Path | None:
    """Return the file with the weights that a training evaluated last; None: no file has them."""
    best, last = (run / "checkpoints" / f"{name}.safetensors" for name in ("best", "last"))
    step = checkpoint_facts(last).get("step")
    if step is not None and checkpoint_facts(best).get("step") == step:
        return best
    # Where a moving average is evaluated, `last` has the weights beneath it.
    averaged = read_json(run / "recipe.json", "a run's recipe").get("ema_decay", 0.0)
    return None if averaged or step is None else last


def find_checkpoint(place: Path) -> Path:
    """Return a file itself, or the best checkpoint of a run folder, or else its last.

    Raises:
        ModelError: there is none.
    """
    if place.is_file():
        return place
    for name in ("best", "last"):
        path = place / "checkpoints" / f"{name}.safetensors"
        if path.is_file():
            return path
    found = "a folder without checkpoints/" if place.is_dir() else "nothing"
    raise ModelError(
        f"Expected a run folder, a .safetensors checkpoint or an exported file (.onnx, .xml, "
        f".pt2) at {place}, but found {found}: check the path."
    )


def environment() -> dict[str, Any]:
    """Return what results depend on besides the recipe: versions, hardware, commit, command."""
    import torch

    return {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": sys.argv,
        "commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES} | _runtimes(),
        "cpu": _cpu_name(),
        "cpu_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def _runtimes() -> dict[str, str]:
    found = {}
    for name in EXPORTED:  # those that are installed
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def git_commit() -> str:
    """Return the commit of the code, with `+` for uncommitted changes; empty outside git."""
    source = Path(__file__).parent

    def git(*words: str) -> str:
        result = subprocess.run(
            ["git", "-C", str(source), *words], capture_output=True, text=True, check=False
        )
        return result.stdout.strip()

    try:
        commit = git("rev-parse", "--short", "HEAD")
        changed = commit and git("status", "--porcelain", "-uno")
        return f"{commit}+" if changed else commit
    except FileNotFoundError:  # no git on this machine
        return ""


def hardware(device: torch.device) -> str:
    """Return the device's name for result tables."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_name()}, {torch.get_num_threads()} threads"


def _cpu_name() -> str:
    return cpu_info("model name") or platform.processor() or platform.machine()


def tidy_rows(
    metrics: Mapping[str, float],
    *,
    recipe: Recipe | None,
    dataset: str,
    split: str,
    tta: str,
    device: torch.device | None,
    precision: str,
    limit: int = 0,
    name: str = "",
    backend: str = "",
    provenance: Provenance | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Return one row per metric, in percent.

    Args:
        recipe: None for a result file.
        limit: number of images that the model was trained on, if not on all; the rows' source then
            says so, and tables leave them out.
        name: what a result file's rows have in place of a recipe.
        backend: what computed the network; empty: PyTorch, where there is a device.
        provenance: what the numbers were computed from, as far as known.
        intervals: the limits of 95 % intervals as fractions, by metric; the rows of others have
            none.
    """
    import pandas as pd

    common = {
        "recipe": recipe.name if recipe else name,
        "method": recipe.method if recipe else "",
        "backbone": recipe.config.backbone if recipe else "",
        "input_size": recipe.inference.resize.short_side if recipe else "",
        "dataset": dataset,
        "split": split,
        "tta": tta,
    }
    made = {
        "unit": "percent",
        "source": f"measured, trained on {limit} images" if limit else "measured",
        "hardware": hardware(device) if device else "",
        "precision": precision,
        "date": datetime.now().date().isoformat(),
        "commit": git_commit(),
    }
    limits, origin = intervals or {}, (provenance or Provenance()).columns()
    unknown = (None, None)
    return pd.DataFrame(
        # The official tools return -1 where there is no ground truth.
        {
            **common,
            "metric": name,
            "value": _percent(value),
            **made,
            "low": _percent(limits.get(name, unknown)[0]),
            "high": _percent(limits.get(name, unknown)[1]),
            **origin,
            "backend": backend or ("torch" if device else ""),
        }
        for name, value in metrics.items()
    )


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None or not fraction >= 0 else 100 * fraction


def write_evaluation(
    run: Path | None,
    evaluation: Evaluation,
    *,
    recipe: Recipe | None,
    dataset: PoseDataset,
    tta: str,
    device: torch.device | None,
    precision: str,
    limit: int = 0,
    name: str = "",
    backend: str = "",
    provenance: Provenance | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Write an evaluation's metrics, predictions and tidy rows to a run folder; return the rows.

    Rank 0 writes; nothing is written if `run` is None.
    """
    rows = tidy_rows(
        evaluation.metrics,
        recipe=recipe,
        dataset=dataset.name,
        split=dataset.split,
        tta=tta,
        device=device,
        precision=precision,
        limit=limit,
        name=name,
        backend=backend,
        provenance=provenance,
        intervals=intervals,
    )
    from posebench.distributed import rank

    if run is not None and rank() == 0:
        if recipe is not None:
            write_recipe(run, recipe, dataset.skeleton)
        write_facts(run, dataset)
        _write_predictions(run / "predictions.json", evaluation.results)
        if evaluation.metrics:
            write_json(run / "metrics.json", evaluation.metrics)
            write_results(run, rows)
    return rows


def _write_predictions(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write predictions, or copy the file that they are in."""
    if isinstance(results, ResultFile):
        with atomic_write(path) as beside:
            shutil.copyfile(results.path, beside)
    else:
        write_json(path, results)


def write_facts(run: Path, dataset: PoseDataset) -> None:
    """Write `dataset.json`: what results on a described dataset depend on, and its origin."""
    if dataset.facts:
        names = {"dataset": dataset.name, "split": dataset.split}
        write_json(run / "dataset.json", names | dict(dataset.facts))


def write_results(run: Path, rows: pd.DataFrame) -> None:
    """Write `results.csv`, on rank 0."""
    from posebench.distributed import rank

    if rank() > 0:
        return
    with atomic_write(run / "results.csv") as beside:
        rows.to_csv(beside, index=False)
