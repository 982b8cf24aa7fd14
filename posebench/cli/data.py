"""`posebench data`: which datasets there are, and synthetic ones as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from posebench.cli.common import JsonOption, RootOption, messages, out, print_rows

app = typer.Typer(help="Datasets: list them, write synthetic ones.", no_args_is_help=True)


@app.command("list")
def list_datasets(data_root: RootOption = None, json: JsonOption = False) -> None:
    """List the datasets: keypoints, splits, layout and whether they are on this machine."""
    import pandas as pd
    from rich.table import Table

    from posebench.data import LAYOUTS
    from posebench.data import data_root as resolved

    root = resolved(data_root)
    rows = pd.DataFrame(
        {
            "dataset": layout.name,
            "keypoints": " or ".join(str(len(skeleton)) for skeleton in layout.skeletons),
            "splits": ", ".join(layout.splits),
            "here": "built in" if not layout.tree else str((root / layout.name).is_dir()).lower(),
            "layout": layout.tree,
            "source": layout.source,
        }
        for layout in LAYOUTS.values()
    )
    if json:
        print_rows(rows)
        return
    table = Table(title=f"Datasets below {root}", title_justify="left", title_style="bold")
    for name in rows.columns:
        table.add_column(str(name))
    for row in rows.itertuples(index=False):
        table.add_row(*map(str, row))
    out.print(table)


@app.command("synth")
def synth(
    out_folder: Annotated[Path, typer.Argument(metavar="OUT", help="Becomes a data root.")],
    images: Annotated[int, typer.Option(min=3, help="Images over all splits.")] = 100,
    layout: Annotated[str, typer.Option(help="coco or crowdpose.")] = "coco",
    size: Annotated[int, typer.Option(min=64, help="Side of an image in pixels.")] = 256,
    crowd: Annotated[float, typer.Option(min=0, max=1, help="How dense the crowds are.")] = 0.1,
    lookalike: Annotated[bool, typer.Option(help="Dress everyone of an image alike.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed draws other people.")] = 0,
) -> None:
    """Write synthetic crowds as files in a dataset's official layout."""
    from posebench.data.synthetic_files import write_synthetic

    summary = write_synthetic(
        out_folder, images, layout, size=size, crowd=crowd, lookalike=lookalike, seed=seed
    )
    messages.print(
        f"Wrote {escape(str(summary))}. "
        f"Use it with --dataset {layout} --data-root {escape(str(out_folder))}",
        soft_wrap=True,
    )
