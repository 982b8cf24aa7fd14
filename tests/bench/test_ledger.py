"""Measurements of published checkpoints, as they are kept beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posebench.bench.ledger import COLUMNS, ROW, read_ledger, write_row
from posebench.files import write_json
from posebench.published import registry

NAME = "cid_hrnet_w32_coco@mmpose0"  # printed: 70.2


def measured(run: Path, images: int, day: int, ap: float) -> None:
    run.mkdir(parents=True)
    packages = {"torch": "2.0"}
    write_json(run / "environment.json", {"time": f"2026-11-{day}", "packages": packages})
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"checkpoint": NAME, "measured": ap, "images": images, "verdict": "holds"}
    write_row(run, row, "a GPU")


def test_the_newest_on_the_most_images_counts(tmp_path: Path) -> None:
    measured(tmp_path / "eval" / "a", 5000, 10, 70.1)
    measured(tmp_path / "eval" / "b", 5000, 12, 70.2)
    measured(tmp_path / "eval" / "c", 5000, 11, 70.3)
    measured(tmp_path / "eval" / "d", 38, 13, 50.0)
    rows, unreadable = read_ledger(tmp_path)
    assert unreadable == []
    assert [row["checkpoint"] for row in rows] == list(registry())
    (row,) = (row for row in rows if row["checkpoint"] == NAME)
    assert (row["printed"], row["measured"], row["run"]) == (70.2, 70.2, str(tmp_path / "eval/b"))
    assert (row["hardware"], row["versions"], row["date"]) == ("a GPU", "torch 2.0", "2026-11-12")
    others = [row for row in rows if row["checkpoint"] != NAME]
    assert {(row["measured"], row["verdict"]) for row in others} == {(None, "untested")}


def test_what_is_no_row_is_left_out_and_named(tmp_path: Path) -> None:
    for name, text in (("a", "{"), ("b", "[1]"), ("c", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / ROW).write_text(text)
    rows, unreadable = read_ledger(tmp_path)
    assert [path.parent.name for path in unreadable] == ["a", "b", "c"]
    assert {row["verdict"] for row in rows} == {"untested"}
    assert len(read_ledger(tmp_path / "nowhere")[0]) == len(rows)
