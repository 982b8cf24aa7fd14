"""What a training was asked for besides its recipe: all that `--resume` needs to go on.

It lies in the run folder as `request.json`. Runs of earlier versions have none; it is then read
from the command line in their `environment.json`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.data import FileChoice, choose_files, find_layout, like_dataset
from posebench.data import data_root as default_root
from posebench.engine.runs import checkpoint_facts, has_checkpoint
from posebench.errors import DataError, ModelError, UsageError
from posebench.files import read_json, write_json
from posebench.models import RECIPES, find_recipe, saved_base
from posebench.recipe import Recipe, recipe_from_json

if TYPE_CHECKING:
    from posebench.data import PoseDataset

_FILE = "request.json"
_VERSION = 1
# Where the data lie and how they are computed with; everything else stays as it was.
_MAY_CHANGE = (
    "data_root", "annotations", "eval_annotations", "image_folder", "device", "precision",
    "workers", "strict", "compile",
)  # fmt: skip
# Fields whose option has another name.
_OPTION_OF = {"image_folder": "images"}


@dataclass(frozen=True)
class TrainingRequest:
    """The data of a training, its seed, and how it is computed."""

    dataset: str
    split: str
    eval_split: str
    data_root: str | None = None  # None: the usual one
    annotations: str | None = None
    eval_annotations: str | None = None
    image_folder: str | None = None  # None: where the dataset has its images
    category: list[str | int] = field(default_factory=list)  # empty: those with keypoints
    skeleton: str | None = None  # name or file of the keypoints; None: those of the dataset
    exif: str = "stored"  # or upright: images are turned as their EXIF orientation says
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    workers: int | None = None  # None: by the device
    strict: bool = False
    compile: bool = False  # whether torch.compile computes the network
    limit: int = 0  # images per epoch; 0: all
    images: int = 0  # labelled images of the training split; 0: not recorded
    processes: int = 1
    machines: int = 1
    weights: str | None = None  # a run, checkpoint or recipe that it starts from; None: none
    # Found, not asked for: by use, "trained" and "evaluated", a split's name and fingerprint.
    # Empty: not recorded.
    data: dict[str, dict[str, Any]] = field(default_factory=dict, compare=False)

    @classmethod
    def new(cls, dataset: str, **given: Any) -> TrainingRequest:
        """Return the request of a new training; a value of None stands for the default."""
        layout = find_layout(dataset)
        usual = cls(dataset, layout.train_split, layout.eval_split)
        return replace(usual, **{name: value for name, value in given.items() if value is not None})

    def choice(self) -> FileChoice | None:
        """Return what is said about the dataset's files."""
        return choose_files(self.image_folder, self.category, self.skeleton)

    def changed(self, run: Path, **given: Any) -> TrainingRequest:
        """Return the request with what is given beside `--resume`; None: not given.

        Raises:
            ModelError: something that cannot change is given, and differs.
        """
        chosen = {name: value for name, value in given.items() if value is not None}
        for name, value in chosen.items():
            own = getattr(self, name)
            if name not in _MAY_CHANGE and value != own:
                option = f"--{_OPTION_OF.get(name, name).replace('_', '-')}"
                had = f"with {option} {own}" if own else f"without {option}"
                if name == "seed":
                    had = f"with --seed {own}"
                raise ModelError(
                    f"{run} was trained {had}, not {value}: leave out {option} to resume it, or "
                    "start a new run without --resume."
                )
        return replace(self, **chosen)

    def on(self, run: Path, train_set: PoseDataset, eval_set: PoseDataset) -> TrainingRequest:
        """Return the request with what identifies its data, wherever they lie.

        Raises:
            DataError: they are others than when the training began.
        """
        images = len(train_set.labelled())
        if self.images and images != self.images:
            raise DataError(
                f"{run} was trained on a split of {self.images} labelled images, but "
                f"{self.dataset} {self.split} has {images} here: name the folder of the same data "
                "with --data-root, or their file with --annotations."
            )
        data = {"trained": _identity(train_set), "evaluated": _identity(eval_set)}
        options = {"trained": "--annotations", "evaluated": "--eval-annotations"}
        for use, before in self.data.items():
            if before["fingerprint"] != data[use]["fingerprint"]:
                former, found = (
                    "{name} ({images} images, fingerprint {fingerprint})".format(**own)
                    for own in (before, data[use])
                )
                raise DataError(
                    f"{run} was {use} on {former}, but found {found}: other images or annotations. "
                    f"Name the folder of the same data with --data-root or their file with "
                    f"{options[use]}, or start a new run on these from its weights, with "
                    f"--weights {run} in place of --resume."
                )
        return replace(self, images=images, data=data)

    def write(self, run: Path) -> None:
        """Write the request to a run folder, with absolute paths."""
        values = asdict(self)
        layout = find_layout(self.dataset)
        # The description of a dataset says where its files are, unless --data-root does.
        if layout.tree and (self.data_root or layout.reference == layout.name):
            values["data_root"] = str(default_root(_path(self.data_root)).absolute())
        for name in ("annotations", "eval_annotations", "image_folder"):
            if values[name] is not None:
                values[name] = str(Path(values[name]).absolute())
        if self.skeleton and Path(self.skeleton).exists():
            values["skeleton"] = str(Path(self.skeleton).absolute())
        if self.weights and Path(self.weights).exists():
            values["weights"] = str(Path(self.weights).absolute())
        content = {"version": _VERSION, **values}
        path = run / _FILE
        if not (path.is_file() and read_json(path, "a training's request") == content):
            write_json(path, content)


def _identity(dataset: PoseDataset) -> dict[str, Any]:
    return {
        "name": f"{dataset.name} {dataset.split}",
        "images": len(dataset),
        "fingerprint": hashlib.sha256(dataset.contents().encode()).hexdigest()[:16],
    }


def world() -> dict[str, int]:
    """Return the number of processes that train together, and of their machines."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    each = int(os.environ.get("LOCAL_WORLD_SIZE", str(processes)))
    return {"processes": processes, "machines": max(processes // max(each, 1), 1)}


def find_request(run: Path) -> TrainingRequest | None:
    """Return what a training was asked for; None: an earlier version did not record it.

    Raises:
        ModelError: the folder has no training that can be continued.
    """
    if not has_checkpoint(run):
        found = "a folder without a checkpoint" if run.is_dir() else "nothing"
        raise ModelError(
            f"Expected the run folder of a training at {run}, but found {found}: start a new run "
            "without --resume."
        )
    path = run / _FILE
    if not path.is_file():
        return _from_command(run)
    values = read_json(path, "a training's request")
    try:
        known = {own.name for own in fields(TrainingRequest)}
        if values.pop("version") != _VERSION or not values.keys() <= known:
            raise ValueError("it is of another version")
        return TrainingRequest(**values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} does not fit this version of posebench ({error}): resume the run with the "
            "version that began it."
        ) from error


def default_recipe(name: str, dataset: str, choice: FileChoice | None = None) -> Recipe:
    """Return a recipe, or a method's default one for a dataset, else for a dataset like it.

    Raises:
        UsageError: there is no such recipe, method or dataset, or no default.
    """
    if name in RECIPES:
        return RECIPES[name]
    return find_recipe(name, find_layout(dataset).name, like_dataset(dataset, choice))


def new_training(
    recipe: str | Recipe | None, dataset: str | None, given: dict[str, Any]
) -> tuple[TrainingRequest, Recipe]:
    """Return what a new training is asked for, and its recipe.

    Args:
        recipe: a recipe, its name, or a method.
        dataset: its name.
        given: the request's other fields; a value of None stands for the default.

    Raises:
        UsageError: the recipe or the dataset is missing, or there is none of that name.
    """
    if recipe is None or dataset is None:
        missing = "a recipe" if recipe is None else "a dataset (--dataset)"
        raise UsageError(
            f"train needs {missing}, as in `posebench train cid_tiny --dataset synthetic`; only "
            "--resume RUN does without."
        )
    request = TrainingRequest.new(dataset, **given, **world())
    if isinstance(recipe, str):
        recipe = default_recipe(recipe, dataset, request.choice())
    return request, recipe


def resumed_training(
    run: Path, recipe: str | Recipe | None, dataset: str | None, given: dict[str, Any]
) -> tuple[TrainingRequest, Recipe]:
    """Return what a run was asked for, changed by what is given now, and its recipe.

    Raises:
        ModelError: the run cannot be continued, or not with what is given.
    """
    if isinstance(recipe, str) and dataset is not None:
        default_recipe(recipe, dataset)  # so that a misspelt recipe is reported first
    request = find_request(run)
    if request is None:
        if recipe is None or dataset is None:
            raise unknown_request(run)
        return new_training(recipe, dataset, given)
    request = request.changed(run, dataset=dataset, **given)
    saved = saved_recipe(run)
    if recipe is None:
        return request, saved
    if not isinstance(recipe, str):
        return request, recipe  # compared field by field when the training goes on
    named = default_recipe(recipe, request.dataset, request.choice())
    if named.name != saved.name:
        raise ModelError(
            f"{run} was trained with another recipe ({saved.name}, not {named.name}): leave out "
            "the recipe to resume it, or start a new run without --resume."
        )
    return request, saved


def unknown_request(run: Path) -> ModelError:
    """Return the error for a run that does not say what it was asked for."""
    command = _command(run)
    if "ablate" in command[1:2]:
        return ModelError(
            f"{run} belongs to a study: repeat its `posebench ablate` command to continue it."
        )
    return ModelError(
        f"{run} was begun from Python by an earlier version, which did not record its data: repeat "
        "its recipe, --dataset and other options beside --resume."
    )


def saved_recipe(run: Path) -> Recipe:
    """Return the recipe that a run was begun with.

    Raises:
        ModelError: this version does not have it.
        DataError: its file is missing or damaged.
    """
    values = read_json(run / "recipe.json", "a run's recipe")
    if not isinstance(values, dict):
        values = {}
    plugin = values.pop("plugin", "")
    return recipe_from_json(values, saved_base(values.get("name"), plugin, run))


# -------------------------------------------------------------------------------- earlier versions

# The options of `train` that take a value, and the fields that they fill.
_OPTIONS = {
    "--dataset": "dataset", "--split": "split", "--eval-split": "eval_split",
    "--data-root": "data_root", "--annotations": "annotations",
    "--eval-annotations": "eval_annotations", "--device": "device", "--precision": "precision",
    "--workers": "workers", "--seed": "", "--set": "", "--devices": "", "--resume": "",
    "--runs": "runs",
}  # fmt: skip


def _command(run: Path) -> list[str]:
    try:
        words = read_json(run / "environment.json", "a run's environment")["command"]
        return [str(word) for word in words]
    except (DataError, KeyError, TypeError):
        return []


def _from_command(run: Path) -> TrainingRequest | None:
    """Return the request of a run whose command line is all that is known of it."""
    command = [word for word in _command(run)[1:] if word != "--debug"]
    if command[:1] not in (["train"], ["demo"]):
        return None
    given: dict[str, Any] = _options(command[1:])
    facts = checkpoint_facts(run / "checkpoints" / "last.safetensors")
    if command[0] == "demo":
        given["dataset"] = "synthetic"
    dataset = given.pop("dataset", facts.get("dataset"))
    if dataset is None:
        return None
    # Paths were relative to the folder in which the command was typed; the run lies below it.
    base = _typed_in(run, Path(given.pop("runs", "runs")))
    for name in ("data_root", "annotations", "eval_annotations"):
        if name in given:
            given[name] = str(base / given[name])
    if "workers" in given:
        given["workers"] = int(given["workers"])
    return TrainingRequest.new(
        dataset, **given, strict="--strict" in command, seed=facts.get("seed"),
        processes=facts.get("processes"),
    )  # fmt: skip


def _options(words: Sequence[str]) -> dict[str, str]:
    given = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _OPTIONS:
            value = value if equals else next(rest, "")
            if _OPTIONS[name]:
                given[_OPTIONS[name]] = value
    return given


def _typed_in(run: Path, runs: Path) -> Path:
    root = run.absolute().parents[1]  # root/train/run
    parts = runs.parts
    if not runs.is_absolute() and root.parts[-len(parts) :] == parts:
        return root.parents[len(parts) - 1]
    return Path()  # the run was moved: as from here


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
