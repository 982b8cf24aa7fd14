"""What the commands share: consoles, options and the printing of results."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from posebench.cli.progress import ProgressBar
from posebench.metrics.names import split_name
from posebench.skeleton import side_and_part

if TYPE_CHECKING:
    import pandas as pd

    from posebench.bench.intervals import MetricInterval
    from posebench.engine.evaluation import Evaluation

# With several processes (`torchrun`) only rank 0 prints.
RANK = int(os.environ.get("RANK", "0"))
# A pipe or file has no width, so no line is cut or wrapped there.
_NO_TERMINAL = 10_000


def _console(*, stderr: bool) -> Console:
    width = None if Console(stderr=stderr).is_terminal else _NO_TERMINAL
    return Console(stderr=stderr, width=width, highlight=False, quiet=RANK > 0)


# Results go to stdout, everything else to stderr.
out, messages = _console(stderr=False), _console(stderr=True)


def to_file(path: Path | None) -> Path | None:
    """Return the option of a file to write, checked before anything is computed for it."""
    return _checked(path, "file")


def to_folder(path: Path | None) -> Path | None:
    """Return the option of a folder to write files to, likewise."""
    return _checked(path, "folder")


def to_either(path: Path | None) -> Path | None:
    """Return the option of a file or a folder to write, likewise."""
    return _checked(path, "either")


def _checked(path: Path | None, kind: Literal["file", "folder", "either"]) -> Path | None:
    if path is not None and RANK == 0:
        from posebench.files import check_writable

        check_writable(path, kind)
    return path


DatasetOption = Annotated[
    str, typer.Option("--dataset", help="Dataset; `posebench data list` shows them.")
]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        help="Folder that contains the dataset folders (default: $POSEBENCH_DATA or ./data).",
    ),
]
SplitOption = Annotated[
    str | None, typer.Option("--split", help="Split (default: the dataset's usual one).")
]
AnnotationsOption = Annotated[
    Path | None,
    typer.Option("--annotations", help="Annotation file to use instead of the split's own."),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images", help="Folder of the images (default: the dataset's, or beside the annotations)."
    ),
]
CategoryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--category",
        help="Category to read, by name or id; repeat for others (default: those with keypoints).",
    ),
]
SkeletonOption = Annotated[
    str | None,
    typer.Option(
        "--skeleton",
        help="Keypoints, where the file does not name them: a built-in set, such as coco, mpii or "
        "ap10k (docs/datasets.md lists them), or a TOML file.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change a recipe field, e.g. epochs=20 or augment.size=384; repeat for others.",
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="Device: auto, cpu, cuda or cuda:N.")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=0,
        help="Processes that load images (default: 0 on a CPU, up to 8 with a GPU).",
    ),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        help="Precision: fp32, tf32 on a GPU, bf16 autocast (losses stay in fp32), or auto: bf16 "
        "where the hardware computes in it.",
    ),
]
CompileOption = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Let torch.compile compute the network: a minute or more for each image size, then "
        "faster steps on a GPU.",
    ),
]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend",
        help="What computes the network: torch, compile, onnxruntime, openvino, or auto: the "
        "fastest here whose people equal PyTorch's. An exported file has its own.",
    ),
]
StrictOption = Annotated[
    bool,
    typer.Option("--strict", help="Stop at the first unreadable image instead of skipping it."),
]
ExifOption = Annotated[
    str,
    typer.Option(
        "--exif",
        help="Images with an EXIF orientation: `upright` turns them, `stored` leaves them as the "
        "published loaders do.",
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="Take this many images at most, the first ones."),
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder for the run folders.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the results as tidy rows in one JSON object.")
]


def say_renamed(settings: Sequence[str] | None) -> None:
    """Print the current names of recipe fields that `--set` calls by a former name."""
    from posebench.recipe import current_name

    for assignment in settings or ():
        path = assignment.partition("=")[0]
        if current_name(path) != path:
            messages.print(
                f"The recipe field {path} is now called {current_name(path)}.", soft_wrap=True
            )


def warn_if_slow(precision: str, device: str) -> None:
    """Print a warning if bf16 is chosen on a device that does not compute in it."""
    if precision != "bf16":
        return
    from posebench.engine import has_bf16, pick_device

    place = pick_device(device)
    if place.type in ("cpu", "cuda") and not has_bf16(place):
        kind = "CPU" if place.type == "cpu" else "GPU"
        messages.print(
            f"[yellow]warning:[/] this {kind} has no bf16 instructions, so bf16 is several times "
            "slower than fp32 here: choose --precision fp32, or auto.",
            soft_wrap=True,
        )


def read_upright(exif: str) -> bool:
    """Return whether `--exif` asks for upright images.

    Raises:
        UsageError: it is neither `upright` nor `stored`.
    """
    from posebench.data import check_exif

    return check_exif(exif) == "upright"


def say(notice: str) -> None:
    """Print a notice on stderr."""
    messages.print(escape(notice), soft_wrap=True)


def count_of(people: int) -> str:
    """Return a number of people in words."""
    return "1 person" if people == 1 else f"{people} people"


def progress_bar() -> ProgressBar:
    """Return the progress of long work on stderr."""
    return ProgressBar(messages)


def print_rows(rows: pd.DataFrame | Sequence[Mapping[str, Any]]) -> None:
    """Print tidy rows as one JSON object, the same for every command's `--json`."""
    if isinstance(rows, Sequence):
        records = list(rows)
    else:  # pandas writes NaN, which JSON does not have, as null
        records = json.loads(rows.to_json(orient="records"))
    typer.echo(json.dumps({"schema_version": 1, "rows": records}))


def print_tables(tables: Mapping[str, pd.DataFrame]) -> None:
    """Print the rows of several tables as `print_rows` does; `table` says whose each row is."""
    records = []
    for name, rows in tables.items():
        own = json.loads(rows.to_json(orient="records"))
        records += [{"table": name} | one for one in own]
    print_rows(records)


def print_metrics(
    title: str,
    evaluation: Evaluation,
    facts: Mapping[str, str] | None = None,
    interval: MetricInterval | None = None,
) -> None:
    """Print a table of the overall metrics, one of the keypoints, left next to right, and facts."""
    overall = {k: v for k, v in evaluation.metrics.items() if "/" not in k and "[" not in k}
    out.print(f"[bold]{escape(title)}[/]", soft_wrap=True)
    out.print(_overall_table(overall))
    if interval is not None:
        out.print(
            f"95 % interval of {escape(interval.name)}: {percent(interval.low)} to "
            f"{percent(interval.high)} (bootstrap over {evaluation.images} images)",
            soft_wrap=True,
        )
    if each := {k[3:-1]: v for k, v in evaluation.metrics.items() if k.startswith("AP[")}:
        table = Table("AP of category", "")
        table.columns[1].justify = "right"
        for name, value in each.items():
            table.add_row(escape(name), percent(value))
        out.print(table)

    parts: dict[str, dict[str, float]] = {}
    metric = ""
    for name, value in evaluation.metrics.items():
        before, slash, keypoint = name.partition("/")
        if slash and not name.startswith("AP["):
            metric = before
            side, part = side_and_part(keypoint)
            part = part if side else keypoint
            parts.setdefault(part, {})[side] = value
    if not parts:  # a dataset's own metric
        return
    table = Table(f"{metric} of", "left", "right", "")
    for column in table.columns[1:]:
        column.justify = "right"
    for part, sides in parts.items():
        table.add_row(part, *(percent(sides.get(side)) for side in ("left", "right", "")))
    out.print(table)
    for name, fact in (facts or {}).items():
        out.print(f"{escape(name)}: {escape(fact)}", soft_wrap=True)


def _overall_table(metrics: Mapping[str, float]) -> Table:
    """Return the metrics in a row; those of merged categories in a row of their own."""
    rows: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        plain, row = split_name(name)
        rows.setdefault(row, {})[plain] = value
    table = Table()
    if len(rows) > 1 or "merged" in rows:
        table.add_column("categories")
    names = next(iter(rows.values()))
    for name in names:
        table.add_column(name, justify="right")
    for row, values in rows.items():
        label = [row or "mean"] if len(table.columns) > len(names) else []
        table.add_row(*label, *(percent(values[name]) for name in names))
    return table


def percent(value: float | None) -> str:
    """Return a fraction as a percentage; a dash for -1, which stands for no ground truth."""
    if value is None:
        return ""
    return "–" if value < 0 else f"{100 * value:.1f}"


def print_unreadable(evaluation: Evaluation) -> None:
    """Print which images could not be read, and how many."""
    for image in evaluation.unreadable:
        messages.print(f"[yellow]skipped[/] {escape(image.message)}", soft_wrap=True)
    if evaluation.unreadable:
        messages.print(
            f"{len(evaluation.unreadable)} of {evaluation.images} images could not be read; their "
            "people count as missed. --strict stops at the first one.",
            soft_wrap=True,
        )
