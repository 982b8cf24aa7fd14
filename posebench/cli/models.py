"""`posebench models`: the recipes of the model zoo."""

from __future__ import annotations

from posebench.cli.common import JsonOption, out, print_rows


def models(json: JsonOption = False) -> None:
    """List the recipes: backbone, input size, cost and the authors' results."""
    from rich.table import Table

    from posebench.bench.flops import describe
    from posebench.models import RECIPES

    rows = [describe(recipe) for recipe in RECIPES.values()]
    if json:
        print_rows(rows)
        return
    table = Table(title="Model zoo", title_justify="left", title_style="bold")
    for name, justify in (
        ("recipe", "left"), ("backbone", "left"), ("keypoints", "left"), ("input", "right"),
        ("params M", "right"), ("GMACs", "right"), ("authors' AP", "left"),
    ):  # fmt: skip
        table.add_column(name, justify="right" if justify == "right" else "left")
    for row in rows:
        table.add_row(
            row["recipe"], row["backbone"], row["keypoints"], str(row["input_size"]),
            f"{row['params_M']:.1f}", f"{row['gmacs']:.1f}", row["reported"] or "–",
        )  # fmt: skip
    out.print(table)
    out.print(
        "GMACs: multiply-adds of one forward pass on a square input with one person, without flip; "
        "papers often call them GFLOPs. `posebench flops` has the details. "
        "Weights: train a recipe, or convert the authors' checkpoint with `posebench weights "
        "import`."
    )
