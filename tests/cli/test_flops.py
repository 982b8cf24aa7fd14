"""`posebench flops` as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.command import only, run


@pytest.mark.parametrize("command", [("flops",), ("speed", "--flops"), ("speed",)])
def test_operations_are_counted_by_operator_and_module(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    """`speed --flops` and `speed --tree` are older spellings of the command."""
    result = run(*command, "--models", "cid_tiny", "--tree", "--depth", "1")
    assert result.code == 0, result.err
    for words in ("by the paper's equations", "aten::convolution", "without a formula"):
        assert words in result.out
    assert "decoupling" in result.out  # a module
    rows = pd.read_csv(only(tmp_path, "runs/speed/cid_tiny_flops_*/results.csv"))
    values = dict(zip(rows["metric"], rows["value"], strict=True))
    operators = rows[rows["metric"].str.startswith("macs/")]["value"].sum()
    assert operators == values["macs"] == values["module_macs/"]
    assert values["uncounted/aten::bincount"] == 1


def test_rows_are_printed_as_json() -> None:
    result = run("flops", "--models", "cid_tiny", "--people", "3", "--json")
    assert result.code == 0, result.err
    rows = json.loads(result.out)["rows"]
    assert {row["people"] for row in rows} == {3}
    assert not any(row["metric"].startswith("module_") for row in rows)


@pytest.mark.parametrize("words", [("flops",), ("speed", "--flops")])
def test_a_misspelt_model_has_a_suggestion(words: tuple[str, ...]) -> None:
    result = run(*words, "--models", "cid_tinny")
    assert result.code == 2
    assert "Did you mean cid_tiny" in result.err
