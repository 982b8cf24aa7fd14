"""How models are timed, as values that processes exchange; reading them needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from posebench.errors import UsageError, unknown_name
from posebench.models import profile_of
from posebench.recipe import Recipe

if TYPE_CHECKING:
    from posebench.engine import Predictor

Protocol = Literal["forward", "end-to-end", "paper"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]

# Names of the stages around the network; stages within it begin with NETWORK.
IMAGE, PREPROCESS, TRANSFER, DECODE = "decode image", "preprocess", "transfer", "postprocess"
NETWORK = "network/"

PEOPLE = 5  # per image, by default
WEIGHTS_SEED = 0  # of networks without weights in the package


@dataclass(frozen=True)
class RoundSchedule:
    """How long each model is timed."""

    rounds: int = 10  # at most
    turn_s: float = 1.0  # of one case of one model; a slower pass is completed
    budget_s: float = 60.0  # of one model; even a slow model gets `MIN_ROUNDS` rounds


FULL = RoundSchedule()
QUICK = RoundSchedule(rounds=5, turn_s=0.5, budget_s=15.0)


@dataclass(frozen=True)
class SpeedOptions:
    """The options of a benchmark, the same for all models that are compared.

    Raises:
        UsageError: an option is unknown or does not fit the others.
    """

    protocol: Protocol = "end-to-end"
    people: tuple[int, ...] = (PEOPLE,)  # per image; one case for each number
    device: str = "cpu"
    precision: Precision = "fp32"
    batch_size: int = 1
    compiled: bool = False
    cuda_graphs: bool = False  # record each network's kernels, and launch them as one
    channels_last: bool = True
    backends: tuple[str, ...] = ("torch",)  # each recipe is timed on each of them
    threads: int = 0  # of each process on a CPU; 0: PyTorch's default
    alternatives: bool = False  # time `Profile.alternatives` in place of forward passes
    schedule: RoundSchedule = FULL

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("protocol", self.protocol, get_args(Protocol)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if name not in known:
                raise unknown_name(kind, name, known)
        if self.protocol == "paper" and self.batch_size > 1:
            raise UsageError("The papers time one image at a time: leave out --batch-size.")
        if self.backends != ("torch",):
            self._check_backends()
        if self.cuda_graphs and (self.compiled or not self.device.startswith("cuda")):
            raise UsageError(
                "--cuda-graphs records what PyTorch launches on a GPU: add --device cuda, and "
                "leave out --compile."
            )

    def _check_backends(self) -> None:
        """Refuse options that only PyTorch's own networks have."""
        from posebench.engine.backend_names import check_backend

        for name in self.backends:
            check_backend(name, auto=False)
        refused = {
            "--alternatives": self.alternatives,
            "--compile": self.compiled,
            "--cuda-graphs": self.cuda_graphs,
            f"--precision {self.precision}": self.precision != "fp32",
            f"--device {self.device}": self.device != "cpu",
        }
        for option, given in refused.items():
            if given:
                raise UsageError(
                    f"--backend compares networks in fp32 on the CPU: leave out {option}."
                )

    @property
    def label(self) -> str:
        """The memory format and so on, as the column `options` of results has it."""
        words = {
            "compiled": self.compiled,
            "CUDA graphs": self.cuda_graphs,
            "channels last": self.channels_last,
            "alternatives": self.alternatives,
        }
        return " + ".join(word for word, used in words.items() if used)


@dataclass(frozen=True)
class InputCase:
    """The input that a model is timed with."""

    people: int = PEOPLE  # per image
    size: tuple[int, int] | None = None  # H, W of the network's input; None: the recipe's resizing


def input_cases(recipe: Recipe | Predictor, options: SpeedOptions) -> tuple[InputCase, ...]:
    """Return a recipe's cases: every number of people at each size that its paper times.

    Raises:
        UsageError: a predictor cannot be timed with these options.
    """
    sizes: tuple[tuple[int, int] | None, ...] = (None,)
    if not isinstance(recipe, Recipe):
        _check_predictor(recipe, options)
        return tuple(InputCase(people) for people in options.people)
    timing = profile_of(recipe.config).paper_timing
    if options.protocol == "paper" and timing is not None:
        side = recipe.inference.resize.short_side
        sizes = ((side, side),) if timing.square else timing.sizes or (None,)
    return tuple(InputCase(people, size) for size in sizes for people in options.people)


def _check_predictor(predictor: Predictor, options: SpeedOptions) -> None:
    refused = {
        "--protocol forward or paper": options.protocol != "end-to-end",
        f"--precision {options.precision}": options.precision != "fp32",
        "--compile": options.compiled,
        "--cuda-graphs": options.cuda_graphs,
        "--alternatives": options.alternatives,
    }
    for option, given in refused.items():
        if given:
            raise UsageError(
                f"{predictor.name} is a predictor, of which posebench sees the poses alone: leave "
                f"out {option}."
            )


@dataclass(frozen=True)
class TimingJob:
    """What one process times."""

    recipe: str  # name, of a recipe or a predictor
    options: SpeedOptions
    cases: tuple[InputCase, ...]
    images: tuple[str, ...] = ()  # paths of JPEG files; needed for cases without a size
    predictor: Predictor | None = None  # one that no plugin declares
    backend: str = "torch"


@dataclass(frozen=True)
class CaseStats:
    """The facts about a case besides its times; NaN where they are not known."""

    size: tuple[int, int]  # H, W of the network's input, or of a predictor's image
    parameters: float
    weight_bytes: float
    activation_bytes: float  # the largest rise of memory during a pass
    macs: float
    flops: float
    flops_folded: float
    macs_as_written: float
    decoded: int  # people decoded from the ideal outputs of the first image
    # How a backend's outputs compare with PyTorch's, and whether they are equal; empty: PyTorch.
    agreement: str = ""
    equal: bool = True


def label_of(recipe: str, backend: str) -> str:
    """Return what a model is called where its backends stand beside one another."""
    return recipe if backend in ("", "torch") else f"{recipe} ({backend})"


Seconds = dict[str, float]  # stage -> seconds of one pass


def with_alternatives(recipes: Sequence[Recipe | Predictor]) -> list[Recipe | Predictor]:
    """Return the recipes whose paper compares alternatives for a stage.

    Raises:
        UsageError: no recipe has alternatives.
    """
    comparing: list[Recipe | Predictor] = [
        recipe
        for recipe in recipes
        if isinstance(recipe, Recipe) and profile_of(recipe.config).alternatives is not None
    ]
    if not comparing:
        names = ", ".join(recipe.name for recipe in recipes)
        raise UsageError(
            f"No paper compares alternatives for a stage of {names}: leave out --alternatives."
        )
    return comparing
