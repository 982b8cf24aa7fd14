"""Frames in their order, with their times, from any of them on."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from posebench.data.frames import Frame, FrameReader, collect_sources
from posebench.errors import DataError
from tests.films import film, number_of, photo, picture


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(*sources: str | Path, start: tuple[int, int] = (0, 0), size: int = 3) -> list[Frame]:
    reader = FrameReader(collect_sources([str(one) for one in sources]), start=start)
    return [frame for batch in reader.batches(size) for frame in batch]


def test_uneven_frames_keep_their_times() -> None:
    frames = [Image.fromarray(picture(number)) for number in range(4)]
    frames[0].save("x.gif", save_all=True, append_images=frames[1:], duration=[100, 500, 40, 100])
    assert [frame.time_s for frame in read("x.gif")] == pytest.approx([0, 0.1, 0.6, 0.64])


def test_a_film_of_a_phone_is_upright() -> None:
    # As phones do, the frames stay and the track's matrix says how to turn them.
    content = film(Path("x.mp4"), 3).read_bytes()
    unit, zero = (1 << 16).to_bytes(4, "big"), bytes(4)
    whole = unit + zero * 3 + unit + zero * 3 + (1 << 30).to_bytes(4, "big")
    turned = zero + unit + zero + (2**32 - (1 << 16)).to_bytes(4, "big") + zero * 4
    turned += (1 << 30).to_bytes(4, "big")
    start = content.index(whole, content.index(b"tkhd"))
    Path("y.mp4").write_bytes(content[:start] + turned + content[start + 36 :])
    shapes = [[one.image.shape for one in read(name) if one.image is not None] for name in
              ("x.mp4", "y.mp4")]  # fmt: skip
    assert shapes == [[(48, 64, 3)] * 3, [(64, 48, 3)] * 3]


def test_it_begins_anywhere() -> None:
    named = [photo(Path("1.png"), 1), photo(Path("2.png"), 2), film(Path("f.avi"), 5)]
    named.append(photo(Path("3.png"), 3))
    whole = read(*named)
    assert [frame.place for frame in whole] == [0, 1, 2, 2, 2, 2, 2, 3]
    for done in range(len(whole)):
        frame = whole[done]
        rest = read(*named, start=(frame.place, frame.index))
        assert [(one.place, one.index, one.time_s) for one in rest] == [
            (one.place, one.index, one.time_s) for one in whole[done:]
        ]
        for one, same in zip(rest, whole[done:], strict=True):
            np.testing.assert_array_equal(one.image, same.image)


def test_what_cannot_be_read_has_its_error() -> None:
    Path("x.mp4").write_bytes(b"no film")
    frames = read(photo(Path("1.png"), 1), "x.mp4", photo(Path("2.png"), 2))
    assert [frame.image is None for frame in frames] == [False, True, False]
    assert "x.mp4 is not a video that can be decoded" in str(frames[1].error)
    with pytest.raises(DataError, match="not a video that can be decoded"):
        read("x.mp4")
    with pytest.raises(DataError, match=r"The video nowhere\.mov is not there"):
        read("1.png", "nowhere.mov")


def test_a_film_that_is_cut_short_is_said() -> None:
    content = film(Path("x.avi"), 20).read_bytes()
    Path("y.avi").write_bytes(b"00dc".join(content.split(b"00dc")[:12]))  # the first frames
    reader = FrameReader(collect_sources(["y.avi"]))
    frames = [frame for batch in reader.batches(4) for frame in batch]
    assert 0 < len(frames) < 20
    assert reader.notices == [
        f"{20 - len(frames)} of 20 frames of y.avi are missing: the file is cut short or damaged."
    ]


def test_reading_can_be_stopped() -> None:
    reader = FrameReader(collect_sources([str(film(Path("x.avi"), 20))]), ahead=2)
    batches = reader.batches(2)
    [first, _] = next(batches)
    assert first.image is not None and number_of(first.image) == 0
    reader.stop()
    assert list(batches) == []
    assert not reader._background._thread.is_alive()


def test_a_film_of_uneven_frames_keeps_their_times() -> None:
    """As phones write them: the table of durations (stts) has an entry for each frame."""
    content = film(Path("x.mp4"), 4).read_bytes()
    start = content.index(b"stts") - 4
    count, ticks = struct.unpack(">II", content[start + 16 : start + 24])
    assert count == 4
    durations = [ticks // 2, 2 * ticks, ticks // 2, ticks]  # as long as before in all
    table = b"stts" + struct.pack(">II", 0, 4) + b"".join(
        struct.pack(">II", 1, own) for own in durations
    )  # fmt: skip
    grown = 8 * 3  # bytes
    changed = content[:start] + (4 + len(table)).to_bytes(4, "big") + table + content[start + 24 :]
    assert content.index(b"mdat") < start  # so that the frames stay where the file says
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        place = changed.index(name) - 4
        size = int.from_bytes(changed[place : place + 4], "big") + grown
        changed = changed[:place] + size.to_bytes(4, "big") + changed[place + 4 :]
    Path("y.mp4").write_bytes(changed)
    frames = read("y.mp4")
    assert [number_of(frame.image) for frame in frames if frame.image is not None] == [0, 1, 2, 3]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.05, 0.25, 0.3], abs=0.002)


def test_a_folder_is_listed_once_and_its_files_are_looked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a network each look takes its time."""
    for number in range(3):
        photo(Path(f"in/{number}.jpg"), number)
    listed: list[str] = []
    followed: list[str] = []
    walk, realpath = os.walk, os.path.realpath

    def walked(top: Path) -> object:
        listed.append(str(top))
        return walk(top)

    def looked_at(path: Path) -> str:
        followed.append(path.name)
        return realpath(path)

    monkeypatch.setattr(os, "walk", walked)
    monkeypatch.setattr(os.path, "realpath", looked_at)
    assert len(collect_sources(["in"])) == 3
    assert listed == ["in"]
    assert followed == ["0.jpg", "1.jpg", "2.jpg"]


def test_links_that_lead_nowhere_or_in_a_circle_are_unreadable() -> None:
    photo(Path("in/1.png"), 1)
    Path("in/2.png").symlink_to("2.png")
    Path("in/3.png").symlink_to("gone.png")
    frames = read("in")
    assert [bool(frame.error) for frame in frames] == [False, True, True]
    assert "2.png cannot be read" in str(frames[1].error)
    assert "3.png is not there" in str(frames[2].error)
