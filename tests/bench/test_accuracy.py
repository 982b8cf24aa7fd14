"""Verdicts on printed AP, and what is needed where nothing can be measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from posebench.bench.accuracy import accuracy_rows, check_accuracy, judge
from posebench.published import Published, choose_published, registry

ENTRY = registry()["cid_hrnet_w32_coco@mmpose0"]  # printed: 70.2


@pytest.mark.parametrize(
    ("entry", "measured", "verdict"),
    [
        (ENTRY, 70.2, "holds"),
        (ENTRY, 70.3, "holds"),
        (ENTRY, 70.1, "holds"),
        (ENTRY, 70.31, "fails"),
        (ENTRY, 69.9, "fails"),
        (replace(ENTRY, differs="enlarging"), 69.9, "near"),
        (replace(ENTRY, differs="enlarging"), 69.8, "fails"),
        (replace(ENTRY, explanation="other images"), 60.0, "explained"),
    ],
)
def test_a_printed_ap_holds_within_a_tenth(entry: Published, measured: float, verdict: str) -> None:
    assert judge(entry, measured) == verdict


def test_what_is_not_here_is_untested_and_says_how_to_test_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    chosen = choose_published(["cid_hrnet_w32_coco@*"])
    assert [entry.name.partition("@")[2] for entry in chosen] == ["mmpose0", "mmpose1", "authors"]
    checked = check_accuracy(chosen, data_root=tmp_path)
    assert {one.verdict for one in checked} == {"untested"}
    assert checked[0].needs[0] == "posebench weights download cid_hrnet_w32_coco@mmpose0"
    assert "verify --accuracy --models cid_hrnet_w32_coco@mmpose0" in checked[0].needs[1]
    assert "cocodataset.org" in checked[0].needs[1]
    assert "1drv.ms" in checked[2].needs[0] and str(chosen[2].path) in checked[2].needs[0]
    (row, *_) = accuracy_rows(checked)
    assert row["measured"] is None and row["printed"] == 70.2
