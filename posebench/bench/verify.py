"""The claims ledger: what papers say of cost, beside what is counted here.

Only what needs neither weights nor data is tested; `untested` lists the rest with what it needs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import pandas as pd

from posebench.bench.flops import count_recipe, meta_model
from posebench.bench.papers import PaperTable, RowRecipe, load_table, read_text, table_names
from posebench.bench.tables import COST_COLUMNS, TIME_COLUMNS, figure_columns
from posebench.errors import PosebenchError
from posebench.models import RECIPES, PoseModel

# holds: within the tolerance of what is printed. explained: beyond it, for a stored cause, and
# equal to what was counted when the cause was found. counted: the paper prints nothing.
# absent: this zoo does not have the recipe.
Verdict = Literal["holds", "explained", "counted", "fails", "absent"]

# Of what is pinned. Counts do not scatter; pinned figures are rounded.
_PINNED_WITHIN = 5e-4


@dataclass(frozen=True)
class Claim:
    """Something a paper says of a recipe's cost."""

    id: str
    claim: str
    recipe: str
    quantity: str
    printed: float | None = None
    tolerance: float = 0.0  # absolute: half a unit of the last printed digit
    source: str = ""  # the table, or `text:` and the fact's id
    explanation: str = ""  # why another figure is right
    pinned: float | None = None  # that figure
    against: str = ""  # the recipe that a ratio is to
    people: int = 1
    size: tuple[int, int] | None = None  # H, W; None: the recipe's short side on both
    sizes: tuple[tuple[int, int], ...] = ()  # of several looks, whose costs are added
    views: int = 1  # of each look


@dataclass(frozen=True)
class Checked:
    """A claim with what was counted."""

    claim: Claim
    measured: float | None  # None: the zoo does not have the recipe
    verdict: Verdict


@dataclass(frozen=True)
class Untested:
    """A printed figure that needs more than a processor."""

    table: str
    row: int
    figure: str
    printed: str
    recipe: str
    needs: str


def read_claims() -> tuple[Claim, ...]:
    """Return the ledger's claims.

    Raises:
        PosebenchError: the package's file has a claim that is not one.
    """
    claims = []
    for entry in tomllib.loads(read_text("claims.toml"))["claim"]:
        # TOML's lists are no keys of a cache.
        hashable = {k: _tuples(v) for k, v in entry.items()}
        try:
            claims.append(Claim(**hashable))
        except TypeError as error:
            raise PosebenchError(f"The claim {entry.get('id')} of the ledger: {error}.") from None
    return tuple(claims)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def judge(claim: Claim, measured: float | None) -> Verdict:
    """Return what a count makes of a claim."""
    if measured is None:
        return "absent"
    pinned = claim.pinned is not None and abs(measured - claim.pinned) <= max(
        _PINNED_WITHIN * abs(claim.pinned), 0.006
    )
    if claim.printed is None:
        return "counted" if pinned else "fails"
    if abs(measured - claim.printed) <= claim.tolerance:
        return "holds"
    return "explained" if pinned and claim.explanation else "fails"


def verify(
    claims: Iterable[Claim],
    tell: Callable[[Claim], None] = lambda claim: None,
) -> list[Checked]:
    """Count what each claim is about and judge it.

    Args:
        tell: is given each claim before it is counted.
    """
    checked = []
    for claim in claims:
        tell(claim)
        names = [name for name in (claim.recipe, claim.against) if name]
        here = all(name in RECIPES for name in names)
        measured = QUANTITIES[claim.quantity](claim) if here else None
        checked.append(Checked(claim, measured, judge(claim, measured)))
    return checked


# ------------------------------------------------------------------------------------- quantities


@cache
def _model(recipe: str) -> PoseModel:
    """Return the network without memory for its weights; each is built once."""
    return meta_model(RECIPES[recipe])


@cache
def _macs(recipe: str, size: tuple[int, int] | None, people: int, as_written: bool) -> float:
    count = count_recipe(
        RECIPES[recipe], size, people=people, as_written=as_written, model=_model(recipe)
    )
    return count.macs / 1e9


def _parameters(recipe: str) -> float:
    return sum(p.numel() for p in _model(recipe).parameters()) / 1e6


def _gmacs(claim: Claim, recipe: str = "") -> float:
    return _macs(recipe or claim.recipe, claim.size, claim.people, False)


def _gmacs_as_written(claim: Claim) -> float:
    return _macs(claim.recipe, claim.size, claim.people, True)


def _percent_more(own: float, other: float) -> float:
    return 100 * (own / other - 1)


def _mebibytes(recipe: str) -> float:
    """Return the size of float32 parameters."""
    return _parameters(recipe) * 4e6 / 2**20


def _looks(claim: Claim) -> float:
    looks = sum(_macs(claim.recipe, size, claim.people, True) for size in claim.sizes)
    return claim.views * looks / _gmacs_as_written(claim)


QUANTITIES: Mapping[str, Callable[[Claim], float]] = {
    "params_M": lambda claim: _parameters(claim.recipe),
    "params_MiB": lambda claim: _mebibytes(claim.recipe),
    "params_MiB_more": lambda claim: _mebibytes(claim.recipe) - _mebibytes(claim.against),
    "params_percent_more": lambda claim: _percent_more(
        _parameters(claim.recipe), _parameters(claim.against)
    ),
    "gmacs": _gmacs,
    "gmacs_as_written": _gmacs_as_written,
    "gmacs_percent_more": lambda claim: _percent_more(_gmacs(claim), _gmacs(claim, claim.against)),
    "gmacs_times": _looks,
}


# --------------------------------------------------------------------------------------- untested


def untested() -> list[Untested]:
    """Return the printed figures of this zoo's recipes that need weights, data or hardware."""
    found = []
    for name in table_names():
        table = load_table(name)
        for figure in figure_columns(table):
            if figure in COST_COLUMNS:
                continue
            for _, row in table.rows.iterrows():
                chosen = table.recipe_of(int(row["row"]), figure)
                if chosen is None or not row[figure]:
                    continue
                recipe = " ".join((chosen.name, *chosen.settings))
                needs = _needs(table, row, chosen, figure)
                found.append(
                    Untested(name, int(row["row"]), figure, str(row[figure]), recipe, needs)
                )
    return found


def _needs(table: PaperTable, row: pd.Series, chosen: RowRecipe, figure: str) -> str:
    if figure in TIME_COLUMNS:
        card = row.get("timing_gpu") or table.hardware or "the paper's hardware"
        return f"`speed --protocol paper` on {card}"
    split = chosen.split or str(row["split"])
    server = " and its evaluation server" if split.startswith("test-dev") else ""
    return f"weights (released or trained), and {row['dataset']} {split}{server}"


# ------------------------------------------------------------------------------------------- rows


def tidy(checked: Iterable[Checked]) -> pd.DataFrame:
    """Return a row for each claim."""
    return pd.DataFrame(
        {
            "claim": one.claim.id,
            "text": one.claim.claim,
            "recipe": one.claim.recipe,
            "metric": one.claim.quantity,
            "printed": one.claim.printed,
            "tolerance": one.claim.tolerance,
            "value": one.measured,
            "pinned": one.claim.pinned,
            "verdict": one.verdict,
            "explanation": one.claim.explanation,
            "source": one.claim.source,
            "needs": "",
        }
        for one in checked
    )


def tidy_untested(untested: Iterable[Untested]) -> pd.DataFrame:
    """Return a row for each figure that was not tested."""
    return pd.DataFrame(
        {
            "claim": f"{one.table}-row{one.row}-{one.figure}",
            "recipe": one.recipe,
            "metric": one.figure,
            "printed": float(one.printed),
            "verdict": "untested",
            "source": one.table,
            "needs": one.needs,
        }
        for one in untested
    )
