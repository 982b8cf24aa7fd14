"""Videos: read, drawn on and written so that they play."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from posebench.data.video import is_video, open_video
from posebench.errors import DataError, PosebenchError
from posebench.viz import write_video


def frame(number: int, height: int = 45, width: int = 63) -> np.ndarray:
    """Return a picture whose brightness tells its number."""
    return np.full((height, width, 3), 40 + 20 * (number % 8), np.uint8)


def written(path: Path, frames: int = 8, fps: float | None = 12.5) -> Path:
    with write_video(path, fps) as file:
        for number in range(frames):
            file.write(frame(number))
    return path


def test_what_is_written_plays(tmp_path: Path) -> None:
    video = open_video(str(written(tmp_path / "deep" / "x.mp4")))
    assert (video.name, video.length) == ("x", 8)
    assert video.fps == pytest.approx(12.5, rel=0.01)
    shown = list(video)
    # Codecs want even sides.
    assert [image.shape for image in shown] == [(46, 64, 3)] * 8
    brightness = np.array([image.mean() for image in shown])
    np.testing.assert_allclose(brightness, 40 + 20 * np.arange(8), atol=6)


@pytest.mark.parametrize("frames", [3, 25])
def test_a_source_without_a_rate_gets_that_of_its_frames(tmp_path: Path, frames: int) -> None:
    video = open_video(str(written(tmp_path / "x.mp4", frames, fps=None)))
    assert len(list(video)) == frames


def test_a_video_without_frames_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(PosebenchError, match="no frame"), write_video(tmp_path / "x.mp4", 5):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_failure_on_the_way_leaves_no_part_of_a_video(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), write_video(tmp_path / "x.mp4", 5) as file:
        file.write(frame(0))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_what_is_a_video() -> None:
    assert [is_video(name) for name in ("x.mp4", "a/b.MOV", "0", "12")] == [True] * 4
    assert [is_video(name) for name in ("x.jpg", "folder", "x", "v1")] == [False] * 4


def test_what_cannot_be_opened_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="is not there"):
        open_video(str(tmp_path / "x.mp4"))
    (tmp_path / "x.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="not a video that can be decoded"):
        open_video(str(tmp_path / "x.mp4"))
    with pytest.raises(DataError, match="no camera 97"):
        open_video("97")


class Camera:
    """Shows three pictures, as OpenCV's captures do."""

    def __init__(self) -> None:
        self.pictures: Iterator[int] = iter(range(3))

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def set(self, what: int, value: float) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        number = next(self.pictures, None)
        return number is not None, None if number is None else frame(number)

    def release(self) -> None: ...


def test_a_camera_is_read_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.VideoCapture", lambda number: Camera())
    camera = open_video("0")
    assert (camera.name, camera.fps, camera.length) == ("camera0", None, None)
    assert len(list(camera)) == 3


def test_colours_stay(tmp_path: Path) -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 220
    with write_video(tmp_path / "x.mp4", 5) as file:
        file.write(red)
    (shown,) = open_video(str(tmp_path / "x.mp4"))
    mean = shown.reshape(-1, 3).mean(0)
    assert mean[0] > 180
    assert mean[1:].max() < 60
