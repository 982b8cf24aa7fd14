"""The papers' tables and the ledger on the command line."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from posebench.bench.tables import claims as ledger
from posebench.bench.tables import load_table, table_names
from posebench.models import RECIPES
from posebench.recipe import override
from tests.bench.tables.runs import write_evaluation
from tests.cli.command import run


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "posebench.bench.tables.joined.describe", lambda recipe: {"params_M": 7.25, "gmacs": 11.125}
    )


def test_tables_are_listed() -> None:
    result = run("tables")
    assert result.code == 0
    assert "cid/4" in result.out
    rows = json.loads(run("tables", "--json").out)["rows"]
    assert len(rows) == len(table_names())
    assert rows[3] == {
        "table": "cid/4", "rows": 18, "in_zoo": rows[3]["in_zoo"],
        "title": load_table("cid_table04").title,
    }  # fmt: skip


def test_one_table_is_shown_with_what_was_measured() -> None:
    recipe = override(RECIPES["cid_hrnet_w32_coco"], "epochs=35")
    write_evaluation(Path("runs/eval/a"), recipe, {"AP": 0.6123})
    result = run("tables", "cid/2")
    assert result.code == 0, result.err
    assert "AP measured" in result.out
    assert "61.2" in result.out
    assert "66.0" in result.out  # what is printed in that row
    assert "1 of the 20 printed figures have a measurement here" in result.err


def test_rows_are_tidy() -> None:
    result = run("tables", "cid/3", "--json")
    rows = json.loads(result.out)["rows"]
    assert {row["source"] for row in rows} == {"paper:cid:table03", "measured"}
    assert {row["metric"] for row in rows if row["source"] == "measured"} == {"params_M", "GFLOPs"}


def test_all_tables_are_written_in_every_format() -> None:
    result = run("tables", "all", "--out", "written")
    assert result.code == 0, result.err
    assert result.out.strip() == "written/report.html"
    names = {path.name for path in Path("written").iterdir()}
    assert names == {
        f"{name}.{suffix}" for name in table_names() for suffix in ("csv", "md", "tex")
    } | {"report.html"}
    with Path("written/cid_table03.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["params_M"] for row in rows] == ["29.6", "28.6", "60.3", "29.4"]
    assert [row["params_M measured"] for row in rows] == ["7.25", "7.25", "", "7.25"]
    assert [row["AP measured"] for row in rows] == [""] * 4
    assert [row["in_zoo"] for row in rows] == ["True", "True", "False", "True"]


def test_a_misspelt_table_is_a_usage_error() -> None:
    result = run("tables", "cid/44")
    assert result.code == 2
    assert "Did you mean cid/4?" in result.err


def test_claims_that_hold_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = [c for c in ledger.read_claims() if c.id in ("mask-rcnn-params", "dgcn-table04-1")]
    gone = replace(claims[1], recipe="nothing_here")
    monkeypatch.setattr(ledger, "read_claims", lambda: (claims[0], gone))
    result = run("verify")
    assert result.code == 0, result.err
    assert "2 claims: 1 holds, 1 absent" in result.err
    assert "Not tested here" in result.out
    rows = json.loads(run("verify", "--json").out)["rows"]
    assert [row["verdict"] for row in rows[:3]] == ["holds", "absent", "untested"]
    assert rows[0]["value"] == 59.137258
    assert all(row["needs"] for row in rows[2:])
    assert "--protocol paper" in run("verify", "--untested").out


def test_a_claim_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    [claim] = [c for c in ledger.read_claims() if c.id == "mask-rcnn-params"]
    wrong = replace(claim, id="wrong", printed=59.2)
    monkeypatch.setattr(ledger, "read_claims", lambda: (claim, wrong))
    for words in (("verify",), ("verify", "--json")):
        result = run(*words)
        assert result.code == 1
        assert "1 of 2 claims fail: wrong." in result.err
        assert "fails" in result.out


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_fits_its_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posebench.cli.common.out._width", width)
    shown = run("tables", "cid/4").out
    rows = [line for line in shown.splitlines() if "   " in line or "──" in line]
    assert len(rows) == 20 and max(map(len, rows)) <= width
    assert "PointSet Anchor †" in shown and "…" not in shown
    assert ("backbone" in rows[0]) == (width == 120)
    if width < 120:
        words = " ".join(shown.split())
        assert "Not shown at this width: " in words and "timing gpu" in words


def test_empty_columns_of_measurements_are_left_out() -> None:
    shown = run("tables", "cid/4").out
    assert "measured" not in shown.splitlines()[2]
    assert "7 columns of measurements are empty" in shown
