"""`posebench models`: the recipes of the model zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from posebench.cli.common import JsonOption, out, print_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from posebench.published import Published
    from posebench.recipe import Recipe

_SORTED_BY = ("zoo", "name", "ap", "params", "gmacs")


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Recipe or published checkpoint (RECIPE@SOURCE) to describe in full, or a method, "
            "backbone or part of a name (`tiny`) whose recipes to list (default: all).",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", help="List recipes trained on this dataset, or with a result on it."
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", help=f"Order of the list: {', '.join(_SORTED_BY)}.")
    ] = "zoo",
    json: JsonOption = False,
) -> None:
    """List the recipes with their cost and the authors' results, or describe one."""
    from posebench.bench.selection import list_recipes
    from posebench.errors import unknown_name
    from posebench.models import RECIPES

    if sort not in _SORTED_BY:
        raise unknown_name("order", sort, _SORTED_BY)
    if name and "@" in name:
        _describe_checkpoint(name, json=json)
        return
    chosen = list_recipes(name, dataset)
    rows = _sorted([_row(recipe, dataset) for recipe in chosen], sort)
    if json:
        print_rows(rows)
    elif name in RECIPES and dataset is None:
        _describe(chosen[0], rows[0])
    else:
        _list(rows)


def _row(recipe: Recipe, dataset: str | None) -> dict[str, Any]:
    from posebench.bench.flops import describe
    from posebench.bench.selection import main_result

    main = main_result(recipe, dataset)
    return {
        **describe(recipe),
        "ap": main.value if main else None,
        "ap_on": f"{main.dataset} {main.split}" if main else "",
        "weights": _weights(recipe),
    }


def _weights(recipe: Recipe) -> str:
    """Return where a recipe's weights come from; empty: they have to be trained or imported."""
    from posebench.published import find_published
    from posebench.shipped import shipped_weights

    if shipped_weights(recipe.name):
        return "in the package"
    return "downloaded" if find_published(recipe.name) else ""


def _sorted(rows: list[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    if by == "name":
        return sorted(rows, key=lambda row: str(row["recipe"]))
    if by == "ap":  # the best first, those without a result last
        return sorted(rows, key=lambda row: -(row["ap"] or 0.0))
    if by in ("params", "gmacs"):
        column = {"params": "params_M", "gmacs": "gmacs"}[by]
        return sorted(rows, key=lambda row: float(row[column]))
    return rows


def _list(rows: Sequence[dict[str, Any]]) -> None:
    from posebench.cli.columns import Column, print_columns

    columns = [
        Column("recipe", [row["recipe"] for row in rows], numeric=False),
        Column("input", [str(row["input_size"]) for row in rows], gives_way=1),
        Column("params", [f"{row['params_M']:.1f}" for row in rows]),
        Column("GMACs", [f"{row['gmacs']:.1f}" for row in rows]),
        Column("AP", ["" if row["ap"] is None else f"{row['ap']:.1f}" for row in rows]),
        Column(
            "split", [row["ap_on"].rpartition(" ")[2] for row in rows], numeric=False, gives_way=2
        ),
    ]
    if rows:
        print_columns(columns, "A wider terminal shows all columns.")
        out.print()
    out.print(
        "AP: the authors' result on the recipe's dataset, or on that of --dataset. Params in "
        "millions. GMACs: multiply-adds of one forward pass on a square input with one person, "
        "without flip; papers often call them GFLOPs."
    )
    out.print("One recipe in full: posebench models RECIPE")


def _describe(recipe: Recipe, row: dict[str, Any]) -> None:
    _print_facts(recipe.name, _facts(recipe, row))


def _print_facts(name: str, facts: Sequence[tuple[str, str]]) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for title, text in facts:
        table.add_row(title, escape(text))
    out.print(f"[bold]{name}[/]")
    out.print(table)


def _facts(recipe: Recipe, row: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what there is to say about a recipe, as titles and texts."""
    from dataclasses import fields

    from posebench.bench.selection import dataset_of

    facts = [("method", f"{recipe.method} ({_page(recipe)})")]
    facts += [
        (field.name, str(getattr(recipe.config, field.name))) for field in fields(recipe.config)
    ]
    facts += [
        ("keypoints", "those of the dataset" if row["keypoints"] == "any" else row["keypoints"]),
        ("input", f"{recipe.inference.resize}, test-time augmentation: {recipe.inference.label}"),
        ("parameters", f"{row['params_M']:.2f} M"),
        ("operations", f"{row['gmacs']:.2f} GMACs ({row['gflops']:.2f} GFLOPs) a forward pass"),
        (
            "training",
            f"{recipe.epochs} epochs, {recipe.batch_size} images a step, {recipe.optimizer}, "
            f"learning rate {recipe.lr:g}, {recipe.augment}",
        ),
    ]
    if recipe.default_for:
        facts.append(("default for", ", ".join(recipe.default_for)))
    for result in recipe.reported:
        facts.append(
            ("authors", f"{result.metric} {result.value:g} on {result.dataset} {result.split} "
             f"({result.source})")
        )  # fmt: skip
    facts += [("weights", text) for text in _weights_in_full(recipe)]
    facts.append(("train", f"posebench train {recipe.name} --dataset {dataset_of(recipe)}"))
    return facts


def _describe_checkpoint(name: str, *, json: bool) -> None:
    """Show all that the registry says about a published checkpoint."""
    from dataclasses import asdict

    from posebench.published import DIFFERENCES, find_published

    entry = find_published(name)
    assert entry is not None  # a name with an @ is that of a checkpoint
    if json:
        settings = " ".join(entry.settings)
        print_rows([asdict(entry) | {"recipe": entry.recipe, "settings": settings}])
        return
    sha = f"SHA-256 {entry.sha256}" if entry.sha256 else f"SHA-384 {entry.sha384}"
    size = f"{entry.bytes} bytes" if entry.bytes else f"about {entry.megabytes:.0f} MB"
    scales = "" if entry.ap_scales is None else f"; {entry.ap_scales} with the scales 0.5, 1 and 2"
    facts = {
        "recipe": entry.recipe,
        "source": f"{entry.source}; names of {entry.format}",
        "AP": f"{entry.ap} on {entry.dataset} {entry.split}, "
        f"{'with' if entry.flip else 'without'} the flip test{scales}",
        "settings": ", ".join(entry.settings),
        "differs": DIFFERENCES.get(entry.differs, ""),
        "explained": entry.explanation,
        "licence": entry.licence,
        "address": entry.url,
        "page": entry.page,
        "check": f"{size}, {sha}" if entry.url else "",
        "read at": entry.read_at,
        "file": f"{entry.path} ({'here' if entry.here else 'not here'})",
        "seen": "downloaded and checked by us" if entry.seen else "never downloaded by us",
    }
    _print_facts(entry.name, [(title, text) for title, text in facts.items() if text])


def _page(recipe: Recipe) -> str:
    from posebench.models import plugin_of

    if plugin := plugin_of(recipe):
        return f"plugin {plugin}"
    return f"docs/{'dgcn' if recipe.method == 'pifpaf' else recipe.method}.md"


def _weights_in_full(recipe: Recipe) -> list[str]:
    """Return where a recipe's weights can be had, a text for each place."""
    from posebench.published import published_for
    from posebench.shipped import read_card, shipped_weights

    if shipped_weights(recipe.name):
        card = read_card(recipe.name)
        return [
            f"in the package, AP {card.ap} [{card.ap_low}, {card.ap_high}] on {card.images} images "
            f"of {card.dataset} {card.split} ({card.date}, {card.hardware})"
        ]
    return [_published_in_full(entry) for entry in published_for(recipe.name)] or [
        "train the recipe, or convert the authors' checkpoint, if there is one: "
        f"posebench weights import FILE --recipe {recipe.name}"
    ]


def _published_in_full(entry: Published) -> str:
    way = "downloaded when it is used" if entry.url else f"by hand from {entry.page}"
    return (
        f"{entry.name} of {entry.source}, AP {entry.ap} on {entry.dataset} {entry.split}, "
        f"licence {entry.licence}, {way}"
    )
