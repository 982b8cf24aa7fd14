"""Images named by files, folders, patterns and lists, and the names of their pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from posebench.data.image_sources import (
    SourceImage,
    collect_images,
    left_out,
    match_names,
    picture_names,
)
from posebench.errors import DataError


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work beside a folder of photos; what is in them does not matter here."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.PNG", "notes.txt", "in/a.jpg", "in/deep/c.jpeg", ".hidden/d.jpg"):
        path = Path("photos", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("in/a.jpg\n")


def names(*sources: str, recursive: bool = False) -> list[str]:
    return [str(image.path) for image in collect_images(sources, recursive=recursive)]


def pictures(*sources: str, recursive: bool = False) -> list[str]:
    return [str(name) for name in picture_names(collect_images(sources, recursive=recursive))]


def test_a_folder_has_its_own_images_and_on_request_those_below() -> None:
    assert names("photos") == ["photos/a.jpg", "photos/b.PNG"]
    below = ["photos/a.jpg", "photos/b.PNG", "photos/in/a.jpg", "photos/in/deep/c.jpeg"]
    assert names("photos", recursive=True) == below
    assert pictures("photos", recursive=True) == ["a.png", "b.png", "in/a.png", "in/deep/c.png"]


def test_a_folder_with_images_in_its_sub_folders_alone_says_how_to_take_them() -> None:
    Path("outer").mkdir()
    Path("photos").rename("outer/photos")
    with pytest.raises(DataError, match="--recursive"):
        collect_images(["outer"])
    assert len(names("outer", recursive=True)) == 4


def test_patterns_are_expanded_and_keep_sub_folders() -> None:
    assert names("photos/*.jpg") == ["photos/a.jpg"]
    assert names("photos/**/*.jp*g") == ["photos/a.jpg", "photos/in/a.jpg", "photos/in/deep/c.jpeg"]
    assert pictures("photos/**/*.jp*g") == ["a.png", "in/a.png", "in/deep/c.png"]
    assert pictures("photos/in/*/c.*") == ["deep/c.png"]
    assert names("photos/*") == ["photos/a.jpg", "photos/b.PNG"]  # not the text, not the folder
    with pytest.raises(DataError, match=r"No image matches photos/\*\.webp"):
        collect_images(["photos/*.webp"])


def test_a_file_that_looks_like_a_pattern_is_itself() -> None:
    Path("photo[1].jpg").write_text("")
    Path("photo1.jpg").write_text("")
    assert names("photo[1].jpg") == ["photo[1].jpg"]


def test_a_list_has_a_path_in_each_line() -> None:
    Path("list.txt").write_text("# people\nphotos/in/a.jpg\n\n photos/a.jpg \nphotos/gone.jpg\n")
    # A file that is not there is reported when it is read, like a damaged one.
    assert names("list.txt") == ["photos/in/a.jpg", "photos/a.jpg", "photos/gone.jpg"]
    assert pictures("list.txt") == ["in/a.png", "a.png", "gone.png"]
    assert names("photos/notes.txt") == ["photos/in/a.jpg"]  # from the list's own folder
    Path("list.txt").write_text("# nothing\n")
    with pytest.raises(DataError, match="names no images"):
        collect_images(["list.txt"])
    Path("list.txt").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(DataError, match="cannot be read as text"):
        collect_images(["list.txt"])


def test_an_image_that_several_sources_name_is_taken_once() -> None:
    assert names("photos/b.PNG", "photos", "./photos/*.jpg") == ["photos/b.PNG", "photos/a.jpg"]


def test_images_in_the_folder_of_the_pictures_are_left_out() -> None:
    excluded = [Path("photos/in"), Path()]  # the second holds the source itself
    found = collect_images(["photos"], recursive=True, excluded=excluded)
    assert [str(image.path) for image in found] == ["photos/a.jpg", "photos/b.PNG"]
    with pytest.raises(DataError, match="lie in the folder of the pictures"):
        collect_images(["photos/**/c.jpeg"], excluded=excluded)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["x/a.jpg", "x/b.jpg"], ["a.png", "b.png"]),
        (["x/a.jpg", "x/a.png"], ["a.jpg.png", "a.png.png"]),
        (["x/A.jpg", "x/a.png"], ["A.jpg.png", "a.png.png"]),
        (["x/a.jpg", "y/a.jpg", "y/b.jpg"], ["x/a.png", "y/a.png", "b.png"]),
        (["x/a.jpg", "y/a.jpg", "y/a.png"], ["x/a.png", "y/a.jpg.png", "y/a.png.png"]),
        (["x/a.jpg", "x/z/a.jpg"], ["a.png", "z/a.png"]),
        (["x/a.jpg", "x/a.png", "x/a.jpg.bmp"], ["a.jpg.png", "a.png.png", "a.jpg-2.png"]),
        (["x/a.b.jpg"], ["a.b.png"]),
    ],
)
def test_every_image_has_a_picture_of_its_own(paths: list[str], expected: list[str]) -> None:
    images = [SourceImage(Path(path), Path(path).parent) for path in paths]
    assert [str(name) for name in picture_names(images)] == expected


def test_what_a_folder_has_besides_images_is_counted() -> None:
    assert left_out(["photos"]) == ["Left out of photos: 1 file that is not an image (notes.txt)."]
    for name in ("a.MTS", "b.wmv", "b.json", "c.json", "d.json", "e.tif", "e.jfif"):
        Path("photos", name).touch()
    assert left_out(["photos", "photos/a.jpg", "photos/*.wmv"]) == [
        "Left out of photos: 2 videos (a.MTS, b.wmv), drawn one at a time, and 4 files that are "
        "not an image (b.json, c.json, d.json, ...)."
    ]
    assert left_out(["photos/in"], recursive=True) == []


def matched(paths: list[str], names: list[str]) -> list[str | None]:
    matches = match_names([Path(path) for path in paths], names)
    return [names[match.index] if match else None for match in matches]


def test_an_image_is_matched_by_the_longest_tail_of_its_path() -> None:
    paths = ["x/cam1/0001.jpg", "x/cam2/0001.jpg"]
    assert matched(paths, ["cam2/0001.jpg", "cam1/0001.jpg"]) == ["cam1/0001.jpg", "cam2/0001.jpg"]
    assert matched(paths, ["a/cam2/0001.jpg", "b/cam2/0001.jpg"]) == [None, None]
    assert matched(paths[1:], ["0001.jpg", "cam1/0001.jpg"]) == ["0001.jpg"]
    assert matched(paths[:1], ["0001.jpg", "cam1/0001.jpg"]) == ["cam1/0001.jpg"]


def test_a_bare_name_is_matched_unless_several_have_it() -> None:
    assert matched(["x/a.jpg", "x/b.jpg"], ["a.jpg", "c.jpg"]) == ["a.jpg", None]
    assert matched(["x/a.jpg", "y/a.jpg"], ["a.jpg"]) == [None, None]
    # An entry that fits one image better does not go to another one, too.
    assert matched(["cam1/a.jpg", "cam2/a.jpg"], ["cam1/a.jpg"]) == ["cam1/a.jpg", None]


def test_other_folders_in_the_names_do_not_matter() -> None:
    names = ["C:\\data\\a.jpg", "./b.jpg", "/elsewhere/train/c.jpg"]
    paths = [Path("photos/a.jpg"), Path("photos/b.jpg"), Path("photos/c.jpg")]
    matches = match_names(paths, names)
    assert [match and (match.index, match.whole) for match in matches] == [
        (0, False), (1, True), (2, False)
    ]  # fmt: skip


def test_a_folder_of_videos_says_so() -> None:
    Path("films").mkdir()
    Path("films/a.wmv").touch()
    with pytest.raises(DataError, match=r"has no images.*1 video \(a\.wmv\), drawn one at a time"):
        collect_images(["films"])
