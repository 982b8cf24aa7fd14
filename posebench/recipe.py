"""A recipe: a model's configuration and how it is trained and tested.

Recipes are plain values. A method's `recipes.py` lists its own; `posebench.models` gathers them.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from posebench.errors import ModelError, UsageError, unknown_name
from posebench.skeleton import SKELETONS, Skeleton, skeleton_from_table, skeleton_table
from posebench.structures import Augmentation, FixedResize, Inference
from posebench.toml_tables import Table
from posebench.torch_pair import check_torch_pair

if TYPE_CHECKING:
    from posebench.models.base import PoseModel

LRSchedule = Literal["step", "cosine"]
Optimizer = Literal["adam", "adamw", "sgd"]
Precision = Literal["fp32", "tf32", "bf16"]
Settings = Mapping[str, Any] | Sequence[str]
SCHEDULES: tuple[str, ...] = get_args(LRSchedule)
OPTIMIZERS: tuple[str, ...] = get_args(Optimizer)

# Former names of fields: runs, checkpoints and command lines that use them keep working.
RENAMED_FIELDS = {
    "images_per_pass": "micro_batch_size",
    "test_time": "inference",
    "elsewhere": "test_overrides",
}

# Fields that came later, with the values that stand for what was before: with these, a study's
# trainings are those of earlier versions.
LATER_FIELDS: dict[str, Any] = {
    "config.cell_centre": 0.0,
    "config.strict_border": False,
    "inference.resize.rounding": "authors",
}

DRAW_SCORE = 0.1  # of people whose method is not known; see `ModelConfig.draw_score`

# As `frozen_epochs`: more than any training has, also one that is resumed for more epochs.
ALL_EPOCHS = 10**6

# These identify a recipe, or are its authors' results: --set cannot change them.
_IDENTITY = ("name", "skeleton", "default_for", "test_overrides", "reported")


@dataclass(frozen=True)
class Reported:
    """A result that the authors published for a recipe."""

    dataset: str
    split: str
    metric: str
    value: float
    source: str  # "paper:cid:table05", or "released" for the authors' repository


def printed(dataset: str, split: str, ap: float, table: str) -> Reported:
    """Return the AP that a paper's table prints; `table` is like `cid:table05`."""
    return Reported(dataset, split, "AP", ap, f"paper:{table}")


@dataclass(frozen=True)
class ModelConfig(ABC):
    """What the configurations of all methods have in common; a method adds its own fields.

    `config.build(skeleton)` is the only way from a recipe to a network, so that recipes can be
    listed without importing torch.
    """

    method: ClassVar[str]  # the name of its package below `posebench.models`
    # Pictures leave out people below this score. Methods' scores have different scales, so each has
    # its own: that of best F1 on synthetic crowds (benchmarks/drawing_threshold.py). It changes
    # neither training nor evaluation, so it is no field and the files of runs do not have it.
    draw_score: ClassVar[float] = DRAW_SCORE

    backbone: str

    @abstractmethod
    def build(self, skeleton: Skeleton) -> PoseModel:
        """Return a new network with random weights.

        Raises:
            ModelError: the method cannot predict this keypoint set.
        """


@dataclass(frozen=True)
class Recipe:
    """Everything that defines a training but the data's location, the device and the seed."""

    name: str
    config: ModelConfig
    skeleton: Skeleton | None  # None: that of the training dataset
    inference: Inference
    augment: Augmentation
    epochs: int
    batch_size: int  # images per optimizer step, over all ranks and accumulated micro-batches
    micro_batch_size: int  # images per forward pass of a rank, at most; batch norm's batch
    lr: float
    backbone_lr: float = 0.0  # of the backbone's parameters, scheduled like lr; 0: lr
    # Number of first epochs in which the backbone's learning rate is 0; ALL_EPOCHS: it is never
    # trained, and its batch norms keep their statistics too.
    frozen_epochs: int = 0
    default_for: tuple[str, ...] = ()  # datasets on which the method's name means this recipe
    schedule: LRSchedule = "step"
    lr_drops: tuple[int, ...] = ()  # epochs at which "step" divides the rate by ten
    warmup_steps: int = 0
    optimizer: Optimizer = "adam"
    momentum: float = 0.0  # of "sgd"
    weight_decay: float = 0.0
    clip_norm: float = 0.0  # maximum gradient norm; 0: no clipping
    ema_decay: float = 0.0  # of a moving average of the weights, which is evaluated; 0: none
    evaluate_every: int = 10  # epochs
    pretrained: bool = True  # start the backbone from ImageNet weights
    # Dataset -> the settings by which the authors test this recipe on a dataset that it was not
    # trained on.
    test_overrides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reported: tuple[Reported, ...] = ()

    def __post_init__(self) -> None:
        for name, choices in (("schedule", SCHEDULES), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"Expected the recipe field {name} to be one of {', '.join(choices)}, "
                    f"but found {getattr(self, name)!r}."
                )
        if self.lr <= 0:
            raise ValueError(f"The learning rate lr is above 0, not {self.lr:g}.")
        if self.backbone_lr < 0:
            raise ValueError(f"backbone_lr is at least 0, not {self.backbone_lr:g}.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum is at least 0 and below 1, not {self.momentum:g}.")
        if self.frozen_epochs < 0:
            raise ValueError(f"frozen_epochs is at least 0, not {self.frozen_epochs}.")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is at least 0 and below 1, not {self.ema_decay:g}.")
        for name in ("epochs", "batch_size", "micro_batch_size", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"The recipe field {name} is at least 1, not {getattr(self, name)}."
                )

    @property
    def method(self) -> str:
        """`cid` of `cid_hrnet_w32_coco`."""
        return self.config.method

    @property
    def draw_score(self) -> float:
        """The score below which pictures leave people out."""
        return self.config.draw_score

    @property
    def freezes_backbone(self) -> bool:
        """Whether the backbone stays as it is for the whole training."""
        return self.frozen_epochs >= ALL_EPOCHS

    def build(self, skeleton: Skeleton) -> PoseModel:
        """Return a new network with random weights, in training mode.

        Raises:
            ModelError: the method cannot predict this keypoint set.
            PosebenchError: torch and torchvision are of different builds.
        """
        check_torch_pair()
        return self.config.build(skeleton)

    @property
    def mirrors(self) -> bool:
        """Whether training or tests use mirrored images."""
        return self.inference.flip or self.augment.flip > 0

    def without_mirrors(self) -> Recipe:
        """Return the recipe without mirrored images."""
        augment, inference = replace(self.augment, flip=0.0), replace(self.inference, flip=False)
        return replace(self, augment=augment, inference=inference)

    def on(self, dataset: str) -> Recipe:
        """Return the recipe with the settings by which its authors test it on a dataset."""
        recipe = self
        for assignment in self.test_overrides.get(dataset, ()):
            recipe = override(recipe, assignment)
        return recipe


def override(recipe: Recipe, assignment: str) -> Recipe:
    """Return the recipe with one field changed, of the recipe itself or of its `config`.

    Nested fields are written with a dot: `augment.size=384`, `inference.flip=false`.

    Raises:
        UsageError: there is no such field, or the value does not fit it.
    """
    path, equals, text = assignment.partition("=")
    if not equals:
        raise UsageError(f"--set expects field=value, but found {assignment!r}.")
    parts = current_name(path).split(".")
    own = [field.name for field in fields(recipe) if field.name not in _IDENTITY]
    configured = [field.name for field in fields(recipe.config)]
    if parts[0] in configured and parts[0] not in own:
        parts = ["config", *parts]
    elif parts[0] not in own:
        raise unknown_name("recipe field", parts[0], [*own, *configured])
    changed: Recipe = _replaced(recipe, parts, text)
    return changed


def with_settings(recipe: Recipe, settings: Settings | None) -> Recipe:
    """Return the recipe with some fields changed: values by name, or `field=value` texts.

    Raises:
        UsageError: there is no such field, or a value does not fit it.
    """
    if isinstance(settings, Mapping):
        settings = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    for assignment in settings or ():
        recipe = override(recipe, assignment)
    return recipe


def set_fields(settings: Settings | None) -> set[str]:
    """Return the names of the fields that settings change."""
    return {current_name(setting.partition("=")[0]) for setting in settings or ()}


def with_inference(
    recipe: Recipe, *, flip: bool | None = None, scales: Sequence[float] | None = None
) -> Recipe:
    """Return the recipe with other views of an image at test time; None: as the recipe has it.

    Raises:
        UsageError: there are no scales, or one is not above 0.
    """
    if flip is not None:
        recipe = override(recipe, f"inference.flip={json.dumps(flip)}")
    if scales is not None:
        recipe = override(recipe, f"inference.scales={json.dumps(list(scales))}")
    return recipe


def check_precision(name: str) -> None:
    """Check the name of a precision, before torch is loaded to choose one.

    Raises:
        UsageError: it is neither fp32, tf32, bf16 nor auto.
    """
    known = (*get_args(Precision), "auto")
    if name not in known:
        raise unknown_name("precision", name, known)


def current_name(path: str) -> str:
    """Return a field's name in this version: `test_time.flip` has become `inference.flip`."""
    first, dot, rest = path.partition(".")
    return RENAMED_FIELDS.get(first, first) + dot + rest


def _replaced(value: Any, parts: list[str], text: str) -> Any:
    name, *rest = parts
    known = [field.name for field in fields(value)]
    if name not in known:
        raise unknown_name("recipe field", name, known)
    current = getattr(value, name)
    if rest and not is_dataclass(current):
        raise UsageError(
            f"The recipe field {name} has no nested fields, but found {name}.{'.'.join(rest)}."
        )
    new = _replaced(current, rest, text) if rest else _parsed(name, current, text)
    try:
        return replace(value, **{name: new})
    except ValueError as error:
        raise UsageError(str(error)) from None


def _parsed(name: str, current: Any, text: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    if isinstance(current, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if is_dataclass(current):
        nested = ", ".join(field.name for field in fields(current))
        raise UsageError(f"The recipe field {name} has nested fields; set one of them: {nested}.")
    if type(value) is not type(current):
        raise UsageError(
            f"Expected a value like {json.dumps(current, default=repr)} for the recipe field "
            f"{name} ({type(current).__name__}), but found {text!r}."
        )
    return value


def without_later_fields(values: dict[str, Any]) -> None:
    """Remove the fields that earlier versions did not have, where they are as those behaved.

    A hash of a recipe that does not use them is then what it was before they were added.

    Args:
        values: a recipe in JSON; changed in place.
    """
    for path, before in LATER_FIELDS.items():
        *outer, name = path.split(".")
        inner = reduce(lambda table, part: table[part], outer, values)
        if inner.get(name) == before:
            del inner[name]


def recipe_to_json(recipe: Recipe, skeleton: Skeleton) -> dict[str, Any]:
    """Return all fields of a recipe as JSON values, with the skeleton it is built for."""
    values = {field.name: _plain(getattr(recipe, field.name)) for field in fields(recipe)}
    built_in = SKELETONS.get(skeleton.name) == skeleton
    table = {"name": skeleton.name, **skeleton_table(skeleton)}
    return {**values, "skeleton": skeleton.name if built_in else table}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def recipe_from_json(values: dict[str, Any], base: Recipe) -> Recipe:
    """Return the recipe from the values of `recipe_to_json`.

    Args:
        values: as saved; fields may have their former names.
        base: the recipe of the same name in this version.

    Raises:
        ModelError: the values do not fit this version's recipe.
    """
    try:
        skeleton = _saved_skeleton(values["skeleton"])
        # Earlier versions also saved where the authors' weights are.
        own = ("skeleton", "test_overrides", "reported", "weights_url")
        current = {current_name(name): value for name, value in values.items()}
        kept = {name: value for name, value in current.items() if name not in own}
        recipe: Recipe = replace(_restored(base, kept), skeleton=skeleton)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ModelError(
            f"The recipe {base.name} was saved by another version of posebench and does not fit "
            f"this one ({error}): use that version, or train again."
        ) from error
    return recipe


def _saved_skeleton(saved: str | dict[str, Any]) -> Skeleton:
    """Return the skeleton of a saved recipe: a built-in one by its name, another by its table."""
    if isinstance(saved, str):
        return SKELETONS[saved]
    table = Table(saved, "the saved skeleton")
    return skeleton_from_table(table, table.take("name", str))


def _restored(base: Any, values: dict[str, Any]) -> Any:
    new = {}
    for name, value in values.items():
        current = getattr(base, name, None)
        if name == "resize" and "upright" in value:  # of an exported network of one size
            value = FixedResize(**value)
        elif is_dataclass(current):
            value = _restored(current, value)
        elif isinstance(value, list):
            value = tuple(value)
        new[name] = value
    return replace(base, **new)
