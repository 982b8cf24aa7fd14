"""`posebench data`: list datasets, check, describe or convert one, write synthetic ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from posebench.cli.common import (
    CategoryOption,
    ExifOption,
    ImagesOption,
    JsonOption,
    RootOption,
    SkeletonOption,
    messages,
    out,
    print_rows,
    progress_bar,
    read_upright,
    to_either,
    to_folder,
)

if TYPE_CHECKING:
    from posebench.data.layout import Layout

app = typer.Typer(
    help="List, check, describe or convert datasets, write synthetic ones.",
    no_args_is_help=True,
)


@app.command("list")
def list_datasets(data_root: RootOption = None, json: JsonOption = False) -> None:
    """List the datasets: keypoints, splits, folder layout, and whether they are on this machine."""
    from posebench.cli.columns import Column, print_columns
    from posebench.data import LAYOUTS
    from posebench.data import data_root as resolved

    root = resolved(data_root)
    rows = [
        {
            "dataset": layout.name,
            "keypoints": " or ".join(str(len(skeleton)) for skeleton in layout.skeletons),
            "splits": ", ".join(layout.splits),
            "here": "built in"
            if not layout.tree
            else str((root / layout.folder_name).is_dir()).lower(),
            "layout": layout.tree,
            "source": layout.source,
        }
        for layout in LAYOUTS.values()
    ]
    if json:
        print_rows(rows)
        return
    out.print(f"Datasets below {escape(str(root))}", soft_wrap=True)
    few = {row["dataset"]: _few(row["splits"].split(", ")) for row in rows}
    shown = [{**row, "splits": few[row["dataset"]]} for row in rows]
    print_columns(
        [
            Column(
                name, [row[name] for row in shown], numeric=False, gives_way=int(name == "splits")
            )
            for name in ("dataset", "keypoints", "splits", "here")
        ]
    )
    out.print()
    for row in rows:
        if row["layout"]:
            out.print(f"[bold]{row['dataset']}[/] from {row['source']}", soft_wrap=True)
            out.print(f"  {escape(row['layout'])}", soft_wrap=True)
        if row["splits"] != few[row["dataset"]]:
            out.print(f"  splits: {row['splits']}", soft_wrap=True)


def _few(names: list[str]) -> str:
    return ", ".join(names if len(names) <= 4 else [*names[:2], "..."])


@app.command("doctor")
def doctor(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A dataset's folder, such as data/coco, a dataset.toml or an annotation file.",
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(help="Dataset whose layout the folder follows (default: its name)."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Folder of another dataset: report images that its training split also has."
        ),
    ] = None,
    images: ImagesOption = None,
    category: CategoryOption = None,
    skeleton: SkeletonOption = None,
    exif: ExifOption = "stored",
    json: JsonOption = False,
) -> None:
    """Check a dataset's annotations and images; exit with code 3 if there are errors."""
    from dataclasses import asdict

    from rich.table import Table

    from posebench.data import choose_files
    from posebench.data.described import describe_path
    from posebench.data.doctor import MISSING_IMAGE, examine
    from posebench.errors import DataError

    upright = read_upright(exif)
    choice = choose_files(images, category or (), skeleton)
    layout = _layout(folder, dataset)
    if choice:
        layout = layout.choosing(choice)
    other = (against, _layout(against, None)) if against else None
    with progress_bar() as bar:
        task = bar.add_task("check", total=None, note="")

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        try:
            findings = examine(folder, layout, against=other, upright=upright, progress=progress)
        except DataError:
            if dataset is not None or not folder.is_dir():
                raise
            # A folder of a built-in dataset's name with keypoints of its own.
            layout = describe_path(str(folder))
            if choice:
                layout = layout.choosing(choice)
            findings = examine(folder, layout, against=other, upright=upright, progress=progress)
    wrong = sum(finding.count for finding in findings if finding.severity == "wrong")
    if json:
        print_rows([{"dataset": layout.name, **asdict(finding)} for finding in findings])
    else:
        table = Table("split", "check", "", "", "examples", title=f"{layout.name} in {folder}")
        colours = {"wrong": "[bold red]wrong[/]", "note": "[yellow]note[/]", "count": ""}
        for finding in findings:
            table.add_row(
                finding.split, finding.check, str(finding.count), colours[finding.severity],
                escape(", ".join(finding.examples)),
            )  # fmt: skip
        out.print(table)
    if wrong:
        lost = any(finding.check == MISSING_IMAGE for finding in findings)
        hint = " If the images lie elsewhere, name their folder with --images." if lost else ""
        raise DataError(
            f"{folder} has {wrong} error{'s' if wrong > 1 else ''} that would break training or "
            f"evaluation: correct what is marked as wrong.{hint}"
        )


def _layout(folder: Path, dataset: str | None) -> Layout:
    from posebench.data import LAYOUTS, data_root, find_layout
    from posebench.data.described import describe_path
    from posebench.errors import DataError, UsageError

    if not folder.exists():
        where = LAYOUTS.get(str(folder))
        hint = (
            f" {folder} is usually at {data_root(None) / where.folder_name}, where other commands "
            "find it, or in the folder that --data-root names: check that one."
            if where and where.tree
            else " Check the path."
        )
        raise DataError(f"Expected a dataset at {folder}, but nothing is there.{hint}")
    name = dataset or _named_by(folder.resolve().name)
    known = LAYOUTS.get(name)
    # A file that only the layout's own reader knows is found by the layout alone.
    if dataset is None and not (known and (known.read or known.files_in(folder))):
        return describe_path(str(folder))
    layout = find_layout(name)
    if not layout.tree:
        raise UsageError(f"{name} has no files to check.")
    return layout


def _named_by(folder: str) -> str:
    """Return the dataset whose folder has this name; if there is none, the name itself."""
    from posebench.data import LAYOUTS

    return next((one.name for one in LAYOUTS.values() if one.folder_name == folder), folder)


def _of_files() -> list[str]:
    from posebench.data import LAYOUTS

    return [layout.name for layout in LAYOUTS.values() if layout.annotations]


@app.command("describe")
def describe(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="An annotation file, or the folder of an export.")
    ],
    images: ImagesOption = None,
    category: CategoryOption = None,
    skeleton: SkeletonOption = None,
) -> None:
    """Print a first dataset.toml for a dataset of your own; `> dataset.toml` keeps it."""
    from posebench.data import choose_files
    from posebench.data.described import describe_path
    from posebench.data.describing import written_description

    layout = describe_path(str(path))
    if choice := choose_files(images, category or (), skeleton):
        layout = layout.choosing(choice)
    typer.echo(written_description(layout, _root_from_output(layout.base / layout.root)), nl=False)


def _root_from_output(root: Path) -> str | None:
    """Return a dataset's folder as seen from the file that the shell writes our output into.

    None: the output goes elsewhere, or to a folder that does not contain it, so that only its whole
    path is right.
    """
    try:
        file = Path(f"/proc/self/fd/{sys.stdout.fileno()}").resolve()
    except (OSError, ValueError):
        return None
    root = root.resolve()
    if not (file.is_file() and root.is_relative_to(file.parent)):
        return None
    return root.relative_to(file.parent).as_posix()


@app.command("convert")
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder or data.yaml of ultralytics, file of MPII or AI Challenger, or a folder "
            "of such files.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            callback=to_either,
            metavar="FILE|FOLDER",
            help="A file that ends in .json, for one split; or a folder, for all splits and a "
            "dataset.toml.",
        ),
    ],
    form: Annotated[
        str | None,
        typer.Option(
            "--format", help="Format of the source: ultralytics, mpii or aic (default: recognized)."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Convert this split only (default: all).")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder of the images (default: looked for near the file)."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist already.")
    ] = False,
) -> None:
    """Write COCO's format from annotations of ultralytics, MPII or AI Challenger."""
    from posebench.data.convert import convert as write_coco
    from posebench.data.convert import source_layout
    from posebench.errors import command_line

    layout = source_layout(source, form, images)
    with progress_bar() as bar:
        task = bar.add_task("convert", total=None, note="")
        written = write_coco(
            layout, output, split=split, overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    for file in written:
        messages.print(
            f"Wrote {escape(str(file.path))}: {file.images} image{'s' * (file.images != 1)} with "
            f"{file.people} labelled people.",
            soft_wrap=True,
        )
    images_there = ("--images", written[0].folder) if written[0].folder else ()
    words = command_line("--dataset", _as_path(output), *images_there)
    messages.print(f"Use it with {escape(words)}", soft_wrap=True)


def _as_path(path: Path) -> str:
    """Return a path as `--dataset` takes it: a folder's name alone would be a dataset's name."""
    return str(path) if path.suffix == ".json" or len(path.parts) > 1 else f"./{path}"


@app.command("synth")
def synth(
    out_folder: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            callback=to_folder,
            help="Output folder; pass it as --data-root afterwards.",
        ),
    ],
    images: Annotated[
        int, typer.Option(min=3, help="Number of images in all splits together.")
    ] = 100,
    layout: Annotated[str, typer.Option(help="Layout: coco, crowdpose, mpii or ochuman.")] = "coco",
    size: Annotated[
        int, typer.Option(min=64, help="Width and height of the images in pixels.")
    ] = 256,
    crowd: Annotated[
        float, typer.Option(min=0, max=1, help="Crowd density, from 0 (one person) to 1.")
    ] = 0.1,
    lookalike: Annotated[
        bool, typer.Option(help="Give all people of an image the same clothes.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
) -> None:
    """Write synthetic crowd images and annotations in a dataset's official layout."""
    from posebench.errors import unknown_name

    if layout not in _of_files():
        raise unknown_name("layout", layout, _of_files())
    from posebench.data.synthetic_files import write_synthetic

    summary = write_synthetic(
        out_folder, images, layout, size=size, crowd=crowd, lookalike=lookalike, seed=seed
    )
    messages.print(
        f"Wrote {escape(str(summary))}. "
        f"Use it with --dataset {layout} --data-root {escape(str(out_folder))}",
        soft_wrap=True,
    )
