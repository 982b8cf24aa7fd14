"""`posebench viz`: which images it draws, where the pictures go, and what it says about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from posebench.models.cid.recipes import CIDConfig
from tests.builders import read_picture
from tests.cli.command import Result, run

# Below and above the scores of a network that has hardly learned.
EVERYBODY, NOBODY = ("--min-score", "0"), ("--min-score", "0.99")


@pytest.fixture(autouse=True)
def photos() -> None:
    """Work beside a folder of photos, two of which differ in their suffix alone."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for name in ("a.jpg", "a.png", "sub/a.jpg", "sub/b.jpg"):
        path = Path("photos", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def viz(trained: Path, *words: str | Path) -> Result:
    result = run("viz", *words, "--model", trained, "--device", "cpu")
    assert result.code == 0, result.err
    return result


def drawn(folder: str = "drawn") -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*.png"))


def rows_of(result: Result) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(result.out)["rows"]
    return rows


def test_every_image_of_a_folder_has_a_picture(trained: Path) -> None:
    viz(trained, "photos", "--out", "drawn")
    assert drawn() == ["a.jpg.png", "a.png.png"]
    viz(trained, "photos", "--recursive", "--out", "all")
    assert drawn("all") == ["a.jpg.png", "a.png.png", "sub/a.png", "sub/b.png"]


def test_sources_are_files_patterns_and_lists(trained: Path) -> None:
    Path("list.txt").write_text("photos/sub/b.jpg\n")
    viz(trained, "photos/a.png", "photos/**/a.jpg", "list.txt", "--out", "drawn")
    assert drawn() == ["a.jpg.png", "a.png.png", "b.png", "sub/a.png"]


def test_earlier_pictures_are_not_drawn_again(trained: Path) -> None:
    for _ in range(2):
        viz(trained, "photos", "--recursive", "--out", "photos/drawn")
    assert len(drawn("photos/drawn")) == 4
    for _ in range(2):
        viz(trained, ".", "--recursive")
    assert len(list(Path("runs/viz").rglob("*.png"))) == 2 * 8


def test_no_picture_replaces_an_image(trained: Path) -> None:
    before = Path("photos/a.png").read_bytes()
    for words in (("photos/a.png", "--out", "photos/a.png"), ("photos/*.png", "--out", "photos")):
        result = run("viz", *words, "--model", trained)
        assert result.code == 2
        assert "choose another --out" in result.err
    # The picture of photos/sub/c.png would be photos/sub/../c.png's own file.
    Path("c.png").write_bytes(before)
    Path("photos/sub/c.png").write_bytes(before)
    result = run("viz", "photos/sub/c.png", "c.png", "--out", ".", "--model", trained)
    assert result.code == 2
    assert Path("c.png").read_bytes() == Path("photos/a.png").read_bytes() == before


def test_it_says_what_drew_whom(trained: Path) -> None:
    result = viz(trained, "photos", *EVERYBODY, "--json", "--out", "drawn")
    rows = rows_of(result)
    assert [row["image"] for row in rows] == ["photos/a.jpg", "photos/a.png"]
    assert [Path(row["picture"]).is_file() for row in rows] == [True, True]
    people = sum(row["people"] for row in rows)
    assert people > 2
    [line] = result.err.splitlines()
    checkpoint = trained / "checkpoints" / "best.safetensors"
    assert line == f"cid_tiny ({checkpoint}) drew {people} people on 2 of 2 images."


def test_it_says_why_nobody_was_drawn(trained: Path) -> None:
    result = viz(trained, "photos/a.png", *NOBODY, "--json", "--out", "drawn")
    [row] = rows_of(result)
    assert (row["people"], row["min_score"]) == (0, 0.99)
    first, second = result.err.splitlines()
    assert first.endswith("drew nobody.")
    assert second == f"Nobody: best score {row['best_score']:.3g}, below --min-score 0.99."


def test_images_without_people_are_counted_among_others(trained: Path) -> None:
    scores = rows_of(viz(trained, "photos", "--json", "--out", "drawn"))
    low, high = sorted(row["best_score"] for row in scores)
    assert low < high  # a JPEG and a PNG differ a little
    between = str((low + high) / 2)
    result = viz(trained, "photos", "--min-score", between, "--out", "again")
    first, second = result.err.splitlines()
    assert " drew " in first and first.endswith("on 1 of 2 images.")
    assert second.startswith(f"Nobody on 1 image: best score {low:.3g}, below --min-score")


def test_the_default_is_the_methods(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIDConfig, "draw_score", 0.98)
    result = viz(trained, "photos/a.png", "--out", "drawn")
    assert "below --min-score 0.98, the default of cid." in result.err
    monkeypatch.setattr(CIDConfig, "draw_score", 0.0)
    assert "on 1 image" in viz(trained, "photos/a.png", "--out", "drawn").err


def test_each_image_has_a_line_on_request(trained: Path) -> None:
    result = viz(trained, "photos/sub", "--verbose", *NOBODY, "--out", "drawn")
    lines = result.err.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == [
        "photos/sub/a.jpg",
        "photos/sub/b.jpg",
    ]
    assert all(": 0 people, best score " in line for line in lines[:2])
    assert result.out.strip() == "drawn"


def test_a_legend_is_drawn_on_request(trained: Path) -> None:
    viz(trained, "photos/a.png", "--out", "plain.png")
    viz(trained, "photos/a.png", "--legend", "--out", "explained.png")
    plain, explained = read_picture("plain.png"), read_picture("explained.png")
    assert explained.shape[0] > plain.shape[0]
    left = (explained.shape[1] - plain.shape[1]) // 2
    assert (explained[:60, left : left + 80] == plain).all()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("x.mp4", "photos"), "drawn alone"),
        (("0", "1"), "drawn alone"),
        (("x.mp4", "--json"), "--json"),
        (("0", "--recursive"), "--recursive"),
    ],
)
def test_a_video_is_drawn_alone(words: tuple[str, ...], named: str) -> None:
    result = run("viz", *words)
    assert result.code == 2
    assert named in result.err
