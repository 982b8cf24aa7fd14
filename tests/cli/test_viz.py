"""`posebench viz`: which images it draws, where the pictures go, and what it says about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from posebench.data.video import open_video
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


# ------------------------------------------------------------ what is read, and what is left out


def test_what_a_folder_has_besides_images_is_said(trained: Path) -> None:
    for name in ("photos/notes.txt", "photos/film.MTS"):
        Path(name).touch()
    Image.open("photos/a.jpg").save("photos/c.TIF")
    result = viz(trained, "photos", "--out", "drawn")
    assert drawn() == ["a.jpg.png", "a.png.png", "c.png"]
    assert "Left out of photos: 1 video (film.MTS), drawn one at a time, and 1 file " in result.err


def test_one_image_that_cannot_be_read_is_one_sentence(trained: Path) -> None:
    Path("x.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    result = run("viz", "x.heic", "--model", trained, "--device", "cpu")
    assert result.code == 3
    [line] = result.err.splitlines()
    assert "HEIC" in line and "convert it to JPEG" in line


def phone(path: str, orientation: int = 6) -> Path:
    """Write a photograph that is 80 x 60 as it is stored, and 60 x 80 upright."""
    image = Image.open("photos/a.png")
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    return Path(path)


def test_photographs_of_phones_are_drawn_upright(trained: Path) -> None:
    phone("photos/phone.jpg")
    viz(trained, "photos/phone.jpg", "--out", "upright.png")
    assert read_picture("upright.png").shape == (80, 60, 3)
    viz(trained, "photos/phone.jpg", "--exif", "stored", "--out", "stored.png")
    assert read_picture("stored.png").shape == (60, 80, 3)
    wrong = run("viz", "photos/phone.jpg", "--exif", "turned", "--model", trained)
    assert wrong.code == 2
    assert "stored, upright" in wrong.err


def annotated(images: list[tuple[str, int, int]]) -> Path:
    """Write annotations with a person on each of the images (name, width, height)."""
    keypoints = [value for k in range(17) for value in (10 + 2 * k, 10 + 2 * k, 2)]
    content = {
        "images": [
            {"id": number, "file_name": name, "width": width, "height": height}
            for number, (name, width, height) in enumerate(images)
        ],
        "annotations": [
            {
                "id": number, "image_id": number, "category_id": 1, "keypoints": keypoints,
                "num_keypoints": 17, "bbox": [5, 5, 40, 40], "area": 1600, "iscrowd": 0,
            }
            for number in range(len(images))
        ],
        "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip
    Path("people.json").write_text(json.dumps(content))
    return Path("people.json")


def drawn_truth(trained: Path, *sources: str | Path) -> tuple[dict[str, bool], str]:
    """Draw beside the annotations; return which pictures show them, and what was said."""
    result = viz(trained, *sources, "--annotations", "people.json", "--json", "--out", "both")
    has = {row["image"]: read_picture(row["picture"]).shape[1] >= 640 for row in rows_of(result)}
    return has, result.err  # captioned tiles are at least 320 pixels wide


def test_annotations_belong_to_the_orientation_that_they_fit(trained: Path) -> None:
    phone("photos/one.jpg")
    phone("photos/two.jpg")
    phone("photos/three.jpg")
    annotated([("one.jpg", 60, 80), ("two.jpg", 80, 60), ("three.jpg", 160, 120)])
    names = [f"photos/{name}.jpg" for name in ("one", "two", "three")]
    has, said = drawn_truth(trained, *names)
    assert has == {names[0]: True, names[1]: True, names[2]: False}
    assert "another size, and not drawn: photos/three.jpg" in said
    one, two = read_picture("both/one.png"), read_picture("both/two.png")
    assert one.shape[0] > two.shape[0]  # upright, and as it is stored


def test_annotations_are_matched_by_path(trained: Path) -> None:
    Path("photos/sub/a.png").write_bytes(Path("photos/a.png").read_bytes())
    annotated([("sub/a.png", 80, 60), ("elsewhere/a.jpg", 80, 60), ("b.png", 80, 60)])
    has, said = drawn_truth(trained, "photos/a.png", "photos/sub/a.png", "photos/a.jpg")
    assert has == {"photos/a.png": False, "photos/sub/a.png": True, "photos/a.jpg": True}
    assert "No annotations in people.json for 1 of 3 images (photos/a.png)" in said
    assert "photos/a.jpg and elsewhere/a.jpg" in said


@pytest.mark.parametrize(
    ("source", "to"),
    [
        ("photos/a.png", "x.webm"), ("photos/a.png", "x.mp4"), ("photos", "x.gif"),
        ("film.avi", "x.png"), ("film.avi", "x.wmv"),
    ],
)  # fmt: skip
def test_an_ending_that_is_not_written_makes_no_folder(trained: Path, source: str, to: str) -> None:
    result = run("viz", source, "--out", to, "--model", trained)
    assert result.code == 2
    assert f"--out is {to}: choose such an ending" in result.err
    assert not Path(to).exists()


def test_a_folder_may_look_like_a_file(trained: Path) -> None:
    Path("x.d4").mkdir()
    for folder in ("x.d4", "run.v2", "run.12"):
        viz(trained, "photos/a.png", "--out", folder)
        assert drawn(folder) == ["a.png"]


def film(path: str, durations: list[int]) -> Path:
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)) for _ in durations]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations)
    return Path(path)


def test_an_animated_picture_alone_is_a_video_with_its_pauses(trained: Path) -> None:
    film("x.gif", [100, 1000, 100])
    result = viz(trained, "x.gif", "--out", "x.webm")
    assert result.out.strip() == "x.webm"
    video = open_video("x.webm")
    assert len(list(video)) / (video.fps or 1) == pytest.approx(1.12, abs=0.02)
    assert "3 frames in" in result.err
    assert "not evenly spaced" in result.err
    assert "missing" not in result.err


def test_among_other_images_its_first_frame_is_drawn_and_that_is_said(trained: Path) -> None:
    film("photos/x.gif", [100, 100])
    for sources in (("photos",), ("photos/x.gif", "photos/a.png")):
        result = viz(trained, *sources, "--out", "drawn")
        assert "x.png" in drawn()
        assert "Only the first frame or page of photos/x.gif is drawn." in result.err


def test_a_codec_that_cannot_be_decoded_writes_nothing(trained: Path) -> None:
    source = Path(__file__).parents[1] / "data" / "av1.mp4"
    result = run("viz", source, "--model", trained, "--out", "drawn", "--device", "cpu")
    if result.code == 0:
        pytest.skip("this OpenCV decodes AV1")
    assert result.code == 3
    assert "AV1" in result.err and "H.264" in result.err
    assert not Path("drawn").exists()


def test_people_keep_their_colour_in_a_video(trained: Path) -> None:
    film("x.gif", [100, 100, 100])
    result = viz(trained, "x.gif", "--track", *EVERYBODY, "--out", "x.mp4")
    assert len(list(open_video("x.mp4"))) == 3
    assert "3 frames in" in result.err
    refused = run("viz", "photos/a.png", "--track", "--model", trained)
    assert refused.code == 2
    assert "leave it out for images" in refused.err
