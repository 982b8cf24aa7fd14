"""Videos: read, drawn on and written so that they play."""

from __future__ import annotations

import os
import struct
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from posebench.data.video import Video, is_video, open_video
from posebench.errors import DataError, PosebenchError, UsageError
from posebench.viz import write_video
from posebench.viz.video import AHEAD, VideoFile


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


def test_a_folder_is_no_video_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("frames.mp4", "2024"):
        Path(name).mkdir()
        assert not is_video(name)
    assert is_video("0")


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


# ----------------------------------------------------------------- formats, codecs, moving pictures


def opencv_video(path: Path, codec: str, size: tuple[int, int] = (64, 48), frames: int = 6) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, size)
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {codec} into {path.suffix}")
    for number in range(frames):
        writer.write(frame(number, size[1], size[0]))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("name", "codec", "size"),
    [
        ("a.wmv", "WMV2", (64, 48)), ("a.ASF", "WMV2", (64, 48)), ("a.flv", "FLV1", (64, 48)),
        ("a.ts", "mp2v", (64, 48)), ("a.mts", "mp4v", (64, 48)), ("a.m2ts", "mp2v", (64, 48)),
        ("a.3gp", "h263", (176, 144)), ("a.mkv", "mp4v", (64, 48)), ("a.webm", "VP80", (64, 48)),
        ("a.avi", "MJPG", (64, 48)), ("a.mov", "mp4v", (64, 48)), ("a.m4v", "mp4v", (64, 48)),
        ("100%d v%03d.mp4", "mp4v", (64, 48)), ("ä 人 [1].mp4", "mp4v", (64, 48)),
    ],
)  # fmt: skip
def test_what_opencv_decodes_is_a_video(
    tmp_path: Path, name: str, codec: str, size: tuple[int, int]
) -> None:
    path = opencv_video(tmp_path / f"x{Path(name).suffix}", codec, size).rename(tmp_path / name)
    assert is_video(str(path))
    video = open_video(str(path))
    assert video.name == (path.stem if path.suffix == ".mp4" else path.name)
    shown = list(video)
    assert [image.shape for image in shown] == [(size[1], size[0], 3)] * 6
    assert video.missing(6) == 0


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(Path("x.mp4")).rename("10:30.mp4")
    assert len(list(open_video("10:30.mp4"))) == 8
    written(Path("11:30.mp4"))
    assert len(list(open_video("11:30.mp4"))) == 8


def moving(path: Path, durations: list[int]) -> Path:
    # Noise, since frames that are equal are stored as one.
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)) for _ in durations]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations)
    return path


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_a_moving_picture_is_a_video_with_its_own_times(tmp_path: Path, suffix: str) -> None:
    path = moving(tmp_path / f"x.{suffix}", [100, 200, 1000, 100])
    assert is_video(str(path))
    video = open_video(str(path))
    assert (video.name, video.length) == (path.name, 4)
    times = [video.shown_ms for _ in video]
    assert times == [0, 100, 300, 1300]
    assert video.missing(4) == 0
    assert not is_video(str(moving(tmp_path / f"still.{suffix}", [100])))


def test_a_codec_that_opencv_lacks_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[1] / "data" / "av1.mp4"  # two grey frames
    if cv2.VideoCapture(str(path)).read()[0]:
        pytest.skip("this OpenCV decodes AV1")
    capfd.readouterr()
    with pytest.raises(DataError, match=r"av1\.mp4.*decodes no AV1 \(FourCC AV01\).*H\.264"):
        open_video(str(path))
    assert capfd.readouterr().err == ""


def test_a_damaged_video_is_not_taken_for_an_unknown_codec(tmp_path: Path) -> None:
    path = opencv_video(tmp_path / "x.avi", "MJPG")
    content = path.read_bytes()
    begin, end = content.index(b"movi") + 12, content.index(b"idx1")
    path.write_bytes(content[:begin] + b"\0" * (end - begin) + content[end:])
    with pytest.raises(DataError, match=r"x\.avi.* cut short or damaged"):
        open_video(str(path))


@pytest.mark.parametrize("change", ["cut", "sound"])
def test_a_file_without_pictures_is_one_sentence(
    tmp_path: Path, change: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "x.mp4")
    if change == "cut":  # its index is at the end
        path.write_bytes(path.read_bytes()[:-400])
    else:
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(b"\0\0" * 800)
    with pytest.raises(DataError, match=r"sound only, is cut short or damaged"):
        open_video(str(path))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotated_film_is_upright(tmp_path: Path, degrees: int) -> None:
    """An MP4 file's track header has a matrix by which players turn its frames."""
    path = opencv_video(tmp_path / "x.mp4", "mp4v")
    bright = np.full((48, 64, 3), 20, np.uint8)
    bright[:10] = 220  # at the top of what the camera stored
    with write_video(path, 10) as file:
        for _ in range(3):
            file.write(bright)
    one, minus = 0x10000, 0xFFFF0000
    matrix = {90: (0, one, minus, 0), 180: (minus, 0, 0, minus), 270: (0, minus, one, 0)}[degrees]
    a, b, c, d = matrix
    identity = struct.pack(">9I", one, 0, 0, 0, one, 0, 0, 0, 0x40000000)
    content = path.read_bytes()
    track = content.index(identity, content.index(b"tkhd"))
    new = struct.pack(">9I", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(content[:track] + new + content[track + 36 :])
    shown = next(iter(open_video(str(path))))
    assert shown.shape == ((48, 64, 3) if degrees == 180 else (64, 48, 3))
    edge = {90: shown[:, -6:], 180: shown[-6:], 270: shown[:, :6]}[degrees]  # clockwise
    assert edge.mean() > 150
    assert shown.mean() < 100


# ------------------------------------------------------------------------------------------- times


def changes(path: Path) -> list[float]:
    """Return when the frames of a video change, in ms."""
    video = open_video(str(path))
    times: list[float] = []
    last = -100.0
    for image in video:
        if abs(image.mean() - last) > 8:
            last = image.mean()
            times.append(video.shown_ms or 0.0)
    return times


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "mov", "avi"])
def test_frames_keep_their_times(tmp_path: Path, suffix: str) -> None:
    times = [0, 120, 200, 1200, 3200]
    path = tmp_path / f"x.{suffix}"
    with write_video(path, 12.5) as file:
        for number, shown in enumerate(times):
            file.write(frame(number), shown + 500.0)
    np.testing.assert_allclose(changes(path), times, atol=11)
    assert file.frames == 5
    assert file.repeated == len(list(open_video(str(path)))) - 5


def test_evenly_spaced_frames_are_written_once(tmp_path: Path) -> None:
    with write_video(tmp_path / "x.mp4", 29.97) as file:
        for number in range(30):
            file.write(frame(number), round(number * 1000 / 29.97))
    video = open_video(str(tmp_path / "x.mp4"))
    assert len(list(video)) == 30
    assert video.fps == pytest.approx(29.97, rel=0.01)
    assert file.repeated == 0


def test_a_pause_after_many_frames_is_kept(tmp_path: Path) -> None:
    times = [100 * number for number in range(15)] + [4000, 4100]
    with write_video(tmp_path / "x.mp4", 10) as file:
        for number, shown in enumerate(times):
            file.write(frame(number % 8), shown)
    assert len(list(open_video(str(tmp_path / "x.mp4")))) == 42
    assert (file.frames, file.repeated, file.shortened) == (17, 25, 0)


def test_a_pause_is_at_most_a_minute(tmp_path: Path) -> None:
    with write_video(tmp_path / "x.mp4", 1) as file:
        for shown in (0, 1000, 10_000_000, 10_001_000):
            file.write(frame(0), shown)
    assert file.shortened == 1
    video = open_video(str(tmp_path / "x.mp4"))
    assert len(list(video)) / (video.fps or 1) == pytest.approx(62, abs=1)


@pytest.mark.parametrize("fps", [90_000, None])
def test_a_rate_is_taken_from_the_times_if_the_header_has_none(
    tmp_path: Path, fps: float | None
) -> None:
    with write_video(tmp_path / "x.mp4", fps) as file:
        for number in range(6):
            file.write(frame(number), 40 * number)
    assert open_video(str(tmp_path / "x.mp4")).fps == pytest.approx(25)


def test_times_that_do_not_grow_lose_no_frame(tmp_path: Path) -> None:
    with write_video(tmp_path / "x.mp4", 5) as file:
        for number, shown in enumerate([400, 600, 800, 0, 0]):
            file.write(frame(number), shown)
    assert len(list(open_video(str(tmp_path / "x.mp4")))) == 5


def test_a_film_with_pauses_has_no_missing_frames() -> None:
    def shown(*times: float) -> Video:
        video = Video("x", 5.0, 17, iter([(frame(0), time) for time in times]))
        list(video)
        return video

    assert shown(0, 200, 3200).missing(3) == 0  # the header counted 3.4 s at 5 frames/s
    assert shown(0, 200, 400).missing(3) == 14


def test_another_ending_is_refused(tmp_path: Path) -> None:
    expected = pytest.raises(UsageError, match=r"\.mp4, .* but found 'x\.gif'")
    with expected, write_video(tmp_path / "x.gif", 5):
        pass


@pytest.mark.parametrize(
    ("told", "fps", "shown"),
    [
        ([0, 0, 0], 10, [0, 100, 200]),  # a stream without a container
        ([0, 0, 0], None, [0, 40, 80]),
        ([100, 200, 350, 0], 25, [100, 200, 350, 500]),  # the last frame of some
        ([0, 100, 200, 0, 100], 25, [0, 100, 200, 300, 400]),  # two films in one file
        ([0, 30, 200], 25, [0, 30, 200]),
        ([None, None], None, [None, None]),
    ],
)
def test_a_frame_is_shown_after_the_one_before(
    told: list[float | None], fps: float | None, shown: list[float | None]
) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    video = Video("x", fps, None, iter([(image, own) for own in told]))
    assert [video.shown_ms for _ in video] == shown


def test_opening_a_video_leaves_what_others_print_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Videos are opened in a thread while messages are printed in another."""
    with write_video(tmp_path / "x.avi", 10) as file:
        file.write(np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "y.avi").write_bytes(b"no film")
    redirected: list[int] = []
    dup2 = os.dup2

    def redirect(old: int, new: int) -> int:
        redirected.append(new)
        return dup2(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "dup2", redirect)
        assert len(list(open_video(str(tmp_path / "x.avi")))) == 1
        with pytest.raises(DataError, match="not a video that can be decoded"):
            open_video(str(tmp_path / "y.avi"))
    assert not redirected
    assert capfd.readouterr().err == ""


# ------------------------------------------------------------------------- encoding, in a thread


class Encoder:
    """Counts what it is given, as OpenCV's writers are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails_at: int | None = None) -> None:
        self.shades: list[int] = []
        self.ahead: list[int] = []  # frames that were written and not encoded, at each frame
        self.threads: set[int] = set()
        self.fails_at, self.go_on = fails_at, threading.Event()
        self.file: VideoFile | None = None
        monkeypatch.setattr("posebench.viz.video._open", self.open)

    def open(self, path: Path, fps: float, size: tuple[int, int]) -> Encoder:
        path.touch()
        return self

    def write(self, image: np.ndarray) -> None:
        if len(self.shades) == self.fails_at:
            raise PosebenchError("the disk is full")
        self.go_on.wait(60)
        time.sleep(0.002)  # let the others run ahead, if they may
        assert self.file is not None
        self.ahead.append(self.file.frames - len(self.shades))
        self.threads.add(threading.get_ident())
        self.shades.append(int(image[0, 0, 0]))

    def release(self) -> None:
        self.released_after = len(self.shades)


def no_thread_is_left() -> bool:
    return not any(thread.name.startswith("video") for thread in threading.enumerate())


def test_frames_are_encoded_in_order_while_the_next_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(monkeypatch)
    with write_video(tmp_path / "x.mp4", 5) as file:
        encoder.file = file
        for number in range(AHEAD):  # which does not wait for the encoder, that waits for us
            file.write(np.full((4, 4, 3), number, np.uint8))
        assert encoder.shades == []
        encoder.go_on.set()
        for number in range(AHEAD, 20):
            file.write(np.full((4, 4, 3), number, np.uint8))
    assert encoder.shades == list(range(20))
    assert 2 <= max(encoder.ahead) <= AHEAD + 1
    assert encoder.released_after == 20
    assert len(encoder.threads) == 1 and threading.get_ident() not in encoder.threads
    assert no_thread_is_left()


def test_a_failing_encoder_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(monkeypatch, fails_at=3)
    encoder.go_on.set()
    with (
        pytest.raises(PosebenchError, match="the disk is full"),
        write_video(tmp_path / "x.mp4", 5) as encoder.file,
    ):
        for number in range(20):
            encoder.file.write(frame(number))
    assert 3 < encoder.file.frames <= 3 + AHEAD + 1  # no more are made in vain
    assert encoder.released_after == 3
    assert no_thread_is_left()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_ends_a_film_ends_its_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    encoder = Encoder(monkeypatch)
    encoder.go_on.set()
    with pytest.raises(error), write_video(tmp_path / "x.mp4", 5) as encoder.file:
        for number in range(AHEAD):
            encoder.file.write(frame(number))
        raise error
    assert no_thread_is_left()
    assert list(tmp_path.iterdir()) == []
