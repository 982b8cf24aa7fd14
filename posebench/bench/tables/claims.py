"""The ledger of claims: what the papers say about cost, checked against counts made here.

Only claims that need neither weights nor data are checked; `list_untested` lists all other printed
figures with what they would need.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import pandas as pd

from posebench.bench.flops import OperationCount, count_recipe, meta_model
from posebench.bench.tables.joined import COST_COLUMNS, TIME_COLUMNS, figure_columns
from posebench.bench.tables.papers import PaperTable, RowRecipe, load_table, read_text, table_names
from posebench.errors import PosebenchError
from posebench.models import RECIPES, PoseModel

# holds: the count is within the tolerance of the printed figure. explained: it is not, but the
# reason is stored and the count still equals the pinned one. counted: nothing is printed, and the
# count equals the pinned one. fails: none of these. absent: the zoo does not have the recipe.
Verdict = Literal["holds", "explained", "counted", "fails", "absent"]

# Relative tolerance of pinned counts: counts are exact, but pinned figures are rounded.
_PINNED_TOLERANCE = 5e-4


@dataclass(frozen=True)
class Claim:
    """A statement of a paper about a recipe's cost."""

    id: str
    claim: str
    recipe: str
    quantity: str
    printed: float | None = None
    tolerance: float = 0.0  # absolute: half a unit of the last printed digit
    # The table, or `text:` and the id of a fact in text_facts.csv; or where it was counted, such as
    # the published code.
    source: str = ""
    explanation: str = ""  # why the count differs from the printed figure
    pinned: float | None = None  # the count that was explained
    against: str = ""  # the recipe that differences and ratios compare with
    people: int = 1
    size: tuple[int, int] | None = None  # H, W; None: the recipe's short side on both
    sizes: tuple[tuple[int, int], ...] = ()  # of a multi-scale test, whose costs are added
    views: int = 1  # per size: 2 with a flipped view


@dataclass(frozen=True)
class CheckedClaim:
    """A claim with the count made here."""

    claim: Claim
    count: float | None  # None: the zoo does not have the recipe
    verdict: Verdict


@dataclass(frozen=True)
class Untested:
    """A printed figure that cannot be checked by counting."""

    table: str
    row: int
    figure: str
    printed: str
    recipe: str
    needs: str


def read_claims() -> tuple[Claim, ...]:
    """Return the claims of `claims.toml`.

    Raises:
        PosebenchError: an entry has unknown or missing fields.
    """
    claims = []
    for entry in tomllib.loads(read_text("claims.toml"))["claim"]:
        # Counts are cached by a claim's fields, and TOML's lists are not hashable.
        hashable = {k: _tuples(v) for k, v in entry.items()}
        try:
            claims.append(Claim(**hashable))
        except TypeError as error:
            raise PosebenchError(
                f"The claim {entry.get('id')} in claims.toml has wrong fields: {error}."
            ) from None
    return tuple(claims)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def judge(claim: Claim, count: float | None) -> Verdict:
    """Return the verdict on a claim, given the count of its quantity."""
    if count is None:
        return "absent"
    pinned = claim.pinned is not None and abs(count - claim.pinned) <= max(
        _PINNED_TOLERANCE * abs(claim.pinned), 0.006
    )
    if claim.printed is None:
        return "counted" if pinned else "fails"
    if abs(count - claim.printed) <= claim.tolerance:
        return "holds"
    return "explained" if pinned and claim.explanation else "fails"


def check_claims(
    claims: Iterable[Claim],
    on_claim: Callable[[Claim], None] = lambda claim: None,
) -> list[CheckedClaim]:
    """Count the quantity of each claim and judge it.

    Args:
        claims: the claims to check.
        on_claim: called with each claim before its quantity is counted.
    """
    checked = []
    for claim in claims:
        on_claim(claim)
        names = [name for name in (claim.recipe, claim.against) if name]
        in_zoo = all(name in RECIPES for name in names)
        count = QUANTITIES[claim.quantity](claim) if in_zoo else None
        checked.append(CheckedClaim(claim, count, judge(claim, count)))
    return checked


# ------------------------------------------------------------------------------------- quantities


@cache
def _model(recipe: str) -> PoseModel:
    """Return the recipe's network on the meta device; each is built once."""
    return meta_model(RECIPES[recipe])


@cache
def _counted(
    recipe: str, size: tuple[int, int] | None, people: int, as_written: bool
) -> OperationCount:
    return count_recipe(
        RECIPES[recipe], size, people=people, as_written=as_written, model=_model(recipe)
    )


def _macs(recipe: str, size: tuple[int, int] | None, people: int, as_written: bool) -> float:
    return _counted(recipe, size, people, as_written).macs / 1e9


def _parameters(recipe: str) -> float:
    return sum(p.numel() for p in _model(recipe).parameters()) / 1e6


def _gmacs(claim: Claim, recipe: str = "") -> float:
    return _macs(recipe or claim.recipe, claim.size, claim.people, False)


def _gmacs_as_written(claim: Claim) -> float:
    return _macs(claim.recipe, claim.size, claim.people, True)


def _gmacs_unsampled(claim: Claim) -> float:
    """Return the multiply-adds of the paper's equations without those of bilinear sampling."""
    count = _counted(claim.recipe, claim.size, claim.people, True)
    sampling = ("aten::_embedding_bag", "aten::grid_sampler")
    return sum(cost.macs for cost in count.operators if not cost.name.startswith(sampling)) / 1e9


def _percent_more(own: float, other: float) -> float:
    return 100 * (own / other - 1)


def _mebibytes(recipe: str) -> float:
    """Return the size of the parameters in float32, in units of 2^20 bytes."""
    return _parameters(recipe) * 4e6 / 2**20


def _multi_scale_ratio(claim: Claim) -> float:
    """Return the cost of a multi-scale test relative to one view at the claim's size."""
    total = sum(_macs(claim.recipe, size, claim.people, True) for size in claim.sizes)
    return claim.views * total / _gmacs_as_written(claim)


QUANTITIES: Mapping[str, Callable[[Claim], float]] = {
    "params_M": lambda claim: _parameters(claim.recipe),
    "params_MiB": lambda claim: _mebibytes(claim.recipe),
    "params_MiB_more": lambda claim: _mebibytes(claim.recipe) - _mebibytes(claim.against),
    "params_percent_more": lambda claim: _percent_more(
        _parameters(claim.recipe), _parameters(claim.against)
    ),
    "gmacs": _gmacs,
    "gmacs_as_written": _gmacs_as_written,
    "gmacs_unsampled": _gmacs_unsampled,
    "gmacs_percent_more": lambda claim: _percent_more(_gmacs(claim), _gmacs(claim, claim.against)),
    "gmacs_times": _multi_scale_ratio,
}


# --------------------------------------------------------------------------------------- untested


def list_untested() -> list[Untested]:
    """Return the printed figures of the zoo's recipes that need weights, data or hardware."""
    figures = []
    for name in table_names():
        table = load_table(name)
        for figure in figure_columns(table):
            if figure in COST_COLUMNS:
                continue
            for _, row in table.rows.iterrows():
                chosen = table.recipe_of(int(row["row"]), figure)
                if chosen is None or not row[figure]:
                    continue
                needs = _needs(table, row, chosen, figure)
                figures.append(
                    Untested(name, int(row["row"]), figure, str(row[figure]), chosen.label, needs)
                )
    return figures


def _needs(table: PaperTable, row: pd.Series, chosen: RowRecipe, figure: str) -> str:
    if figure in TIME_COLUMNS:
        card = row.get("timing_gpu") or table.hardware or "the paper's hardware"
        return f"`speed --protocol paper` on {card}"
    split = chosen.split or str(row["split"])
    server = " and its evaluation server" if split.startswith("test-dev") else ""
    return f"weights (released or trained), and {row['dataset']} {split}{server}"


# ------------------------------------------------------------------------------------------- rows


def claim_rows(checked: Iterable[CheckedClaim]) -> pd.DataFrame:
    """Return one tidy row per claim."""
    return pd.DataFrame(
        {
            "claim": one.claim.id,
            "text": one.claim.claim,
            "recipe": one.claim.recipe,
            "metric": one.claim.quantity,
            "printed": one.claim.printed,
            "tolerance": one.claim.tolerance,
            "value": one.count,
            "pinned": one.claim.pinned,
            "verdict": one.verdict,
            "explanation": one.claim.explanation,
            "source": one.claim.source,
            "needs": "",
        }
        for one in checked
    )


def untested_rows(untested: Iterable[Untested]) -> pd.DataFrame:
    """Return one tidy row per figure that was not checked."""
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
