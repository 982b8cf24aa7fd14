"""Streams by their address: read, broken, and opened again."""

from __future__ import annotations

from pathlib import Path

import pytest

from posebench.data.frames import FrameReader, collect_sources, picture_folders
from posebench.data.frames.streams import open_stream
from posebench.errors import DataError
from tests.films import film, number_of, served


def test_a_stream_that_breaks_is_opened_again_a_few_times() -> None:
    shown = []
    with served([4, 3, 4]) as address:
        video = open_stream(address, "camera", reopen=4, pause_s=0.01)
        assert video.live
        with pytest.raises(DataError, match=r"The stream camera broke after .* again 4 times"):
            for image in video:
                shown.append(number_of(image))
    # FFmpeg may hold back the last picture of a connection.
    assert shown == sorted(shown)
    assert len(shown) >= 8 and max(shown) >= 9


def test_nobody_answers() -> None:
    with served([]) as address, pytest.raises(DataError, match="cannot be opened: check the"):
        FrameReader(collect_sources([address]))


def test_a_film_on_a_server_loses_no_frame(tmp_path: Path) -> None:
    content = film(tmp_path / "x.avi", 12).read_bytes()
    with served([], content) as address:
        reader = FrameReader(collect_sources([address]), ahead=2)
        frames = [frame for batch in reader.batches(5) for frame in batch]
    assert [frame.index for frame in frames] == list(range(12))
    assert [number_of(frame.image) for frame in frames if frame.image is not None] == list(
        range(12)
    )
    assert not any(frame.live for frame in frames)


@pytest.mark.parametrize(
    ("address", "name", "folder"),
    [
        ("rtsp://me:secret@host/path", "rtsp://host/path", "path"),
        ("rtsp://me:s@cret@host/path", "rtsp://host/path", "path"),
        ("rtsp://host/at@sign", "rtsp://host/at@sign", "at_sign"),
        ("rtmp://host/live?channel=0&user=me&password=s@c/ret#x",
         "rtmp://host/live?channel=0&user=...&password=...#x", "live"),
        ("http://host:80/", "http://host:80/", "host_80"),
        ("http://host/video.cgi?Token=secret", "http://host/video.cgi?Token=...", "video.cgi"),
        ("http://host/a/..", "http://host/a/..", "stream"),
    ],
)  # fmt: skip
def test_a_password_is_not_shown(address: str, name: str, folder: str) -> None:
    [source] = collect_sources([address])
    assert (source.kind, source.name, source.address) == ("stream", name, address)
    assert picture_folders([source]) == [Path(folder)]


def test_pauses_between_attempts_do_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    with served([3]) as address:
        video = open_stream(address, "camera", reopen=12)
        monkeypatch.setattr("posebench.data.frames.streams.time.sleep", pauses.append)
        monkeypatch.setattr("posebench.data.frames.streams._capture", lambda address: None)
        with pytest.raises(DataError, match="again 12 times"):
            list(video)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]
