"""`posebench.predict`: what is read, what is returned and written, and how it goes on."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import re
import signal
import threading
import time
import tracemalloc
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import posebench
from posebench.api.prediction import Prediction
from posebench.engine.prediction import formats
from posebench.errors import DataError, PosebenchError, UnsupportedError, UsageError
from posebench.metrics import read_results
from tests.builders import truth_of
from tests.films import film, number_of, photo, picture, seer, served


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lines(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_sources_of_all_kinds_come_in_their_order() -> None:
    film(Path("in/film.mp4"), 3)
    for name, number in (("in/b.jpg", 5), ("in/deep/c.jpg", 6), ("other/d.png", 7)):
        photo(Path(name), number)
    Path("list.txt").write_text("other/d.png\nin/film.mp4\n")
    found = posebench.predict(seer(), ["in", "list.txt", "in/deep/*.jpg", "in/b.jpg"])
    assert [(one.source, one.frame, one.time_s) for one in found] == [
        ("in/b.jpg", 0, None),
        ("in/film.mp4", 0, 0.0), ("in/film.mp4", 1, 0.1), ("in/film.mp4", 2, 0.2),
        ("other/d.png", 0, None), ("in/deep/c.jpg", 0, None),
    ]  # fmt: skip
    assert {one.size for one in found} == {(64, 48)}
    deep = posebench.predict(seer(), "in", recursive=True)
    assert [one.source for one in deep if one.time_s is None] == ["in/b.jpg", "in/deep/c.jpg"]


def test_people_are_those_of_the_frame() -> None:
    photo(Path("a.png"), 3)
    for one in posebench.predict(seer(), [film(Path("x.avi"), 6), "a.png"], stream=True):
        assert one.origin is not None and one.origin.image is not None
        number = number_of(one.origin.image)
        assert number == (one.frame if one.time_s is not None else 3)
        [person] = one.people.keypoints  # the unlikely one is left out
        shape = np.random.default_rng(0).uniform(0, 30, (17, 2))
        np.testing.assert_allclose(person.numpy(), shape + np.array([number, 2 * number]))


def test_photographs_are_upright() -> None:
    [one] = posebench.predict(seer(), photo(Path("a.jpg"), 3, orientation=6))
    assert one.size == (48, 64)


def test_a_batch_is_as_large_as_asked_for() -> None:
    calls: list[int] = []
    posebench.predict(seer(calls), film(Path("x.avi"), 10), batch_size=4)
    assert calls == [4, 4, 2]


def test_what_cannot_be_read_is_said_with_its_image() -> None:
    photo(Path("a/1.jpg"), 1)
    Path("a/2.jpg").write_bytes(b"no picture")
    photo(Path("a/3.jpg"), 3)
    found = posebench.predict(seer(), "a", out="x.jsonl")
    assert [bool(one.error) for one in found] == [False, True, False]
    assert "not an image" in lines("x.jsonl")[1]["error"]
    assert [len(line["people"]) for line in lines("x.jsonl")] == [1, 0, 1]
    with pytest.raises(DataError, match="not an image"):
        posebench.predict(seer(), "a", strict=True)
    with pytest.raises(DataError, match="not an image"):
        posebench.predict(seer(), "a/2.jpg")


def test_a_line_has_the_frame_and_its_people() -> None:
    posebench.predict(seer(), film(Path("x.avi"), 3), out="x.jsonl", track=True)
    last = lines("x.jsonl")[-1]
    [person] = last.pop("people")
    assert last == {
        "source": "x.avi", "frame": 2, "time_s": 0.2, "width": 64, "height": 48, "skeleton": "coco",
    }  # fmt: skip
    assert (person["track"], person["score"]) == (1, 0.75)
    assert np.array(person["keypoints"]).shape == (17, 3)


def test_coco_results_are_read_and_have_everybody() -> None:
    names = [photo(Path(f"{number:012d}.jpg"), number) for number in (7, 12)]
    posebench.predict(seer(), names, out="x.json")
    entries = json.loads(Path("x.json").read_text())
    assert [entry["image_id"] for entry in entries] == [7, 7, 12, 12]
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 48} for n in (7, 12)]
    truth = truth_of({"images": images, "annotations": [], "categories": []})
    assert len(read_results(Path("x.json"), truth).scores) == 4
    posebench.predict(seer(), [film(Path("f.avi"), 2), names[0]], out="y.json", track=True)
    entries = json.loads(Path("y.json").read_text())
    told = [(e["image_id"], e.get("frame"), e["track_id"]) for e in entries]
    assert told == [(1, 0, 1), (2, 1, 1), (3, None, 1)]


def test_tables_have_a_row_for_each_person() -> None:
    pandas = pytest.importorskip("pandas")
    film(Path("x.avi"), 3)
    posebench.predict(seer(), "x.avi", out="x.csv", min_score=0)
    rows = list(csv.DictReader(Path("x.csv").read_text().splitlines()))
    assert [(row["frame"], row["person"]) for row in rows[:3]] == [
        ("0", "0"),
        ("0", "1"),
        ("1", "0"),
    ]
    assert float(rows[2]["nose_y"]) == pytest.approx(float(rows[0]["nose_y"]) + 2)
    if not _has_pyarrow():
        pytest.skip("pyarrow is not installed")
    posebench.predict(seer(), "x.avi", out="x.parquet", min_score=0)
    table = pandas.read_parquet("x.parquet")
    pandas.testing.assert_frame_equal(
        table, pandas.read_csv("x.csv"), check_dtype=False, check_exact=True
    )


def _has_pyarrow() -> bool:
    try:
        import pyarrow
    except ImportError:
        return False
    return bool(pyarrow)


def test_parquet_without_its_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    film(Path("x.avi"), 2)
    with pytest.raises(UnsupportedError, match=r"pip install 'posebench\[parquet\]'") as raised:
        posebench.predict(seer(), "x.avi", out="x.parquet")
    assert raised.value.exit_code == 5


# --------------------------------------------------------------------------- stopped and continued

FORMATS = ["x.jsonl", "x.json", "x.csv"]


def options(out: str) -> dict[str, Any]:
    return {"out": out, "track": True, "smooth": True, "batch_size": 4}


def sources() -> list[Path]:
    return [photo(Path("in/1.jpg"), 1), film(Path("in/f.avi"), 18), photo(Path("in/2.jpg"), 2)]


def killed(named: list[Path], out: str, after: int) -> None:
    """Run in a process that is killed after so many frames."""
    stream = posebench.predict(seer(), named, stream=True, **options(out))
    for _ in islice(stream, after):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("name", [*FORMATS, "x.parquet"])
@pytest.mark.parametrize("after", [1, 9, 19])
def test_a_killed_run_continues_to_the_same_file(
    name: str, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    grows = name
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        grows = ".x.parquet.rows.jsonl"  # the table is made of it at the end
    monkeypatch.setattr("posebench.engine.prediction.output._SAVE_S", 0.0)
    named = sources()
    posebench.predict(seer(), named, **options(f"whole{name}"))
    process = multiprocessing.get_context("fork").Process(target=killed, args=(named, name, after))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with Path(grows).open("ab") as file:  # what the system had written of the next batch
        file.write(b'{"source": "in/f.a')
    with pytest.raises(UsageError, match="--resume"):
        posebench.predict(seer(), named, **options(name))
    posebench.predict(seer(), named, resume=True, **options(name))
    assert Path(name).read_bytes() == Path(f"whole{name}").read_bytes()
    assert sorted(path.name for path in Path().glob(".x*")) == []


@pytest.mark.parametrize("name", [*FORMATS, "x.parquet"])
def test_a_stopped_run_has_what_is_done_and_continues(name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    named = sources()
    posebench.predict(seer(), named, **options(f"whole{name}"))
    stream = posebench.predict(seer(), named, stream=True, **options(name))
    assert len(list(islice(stream, 9))) == 9
    stream.close()  # type: ignore[attr-defined]
    assert records(name) == 12  # whole batches
    rest = posebench.predict(seer(), named, resume=True, **options(name))
    assert [one.frame for one in rest] == [11, 12, 13, 14, 15, 16, 17, 0]
    assert records(name) == records(f"whole{name}") == 20
    assert Path(name).read_bytes() == Path(f"whole{name}").read_bytes()


@pytest.mark.parametrize("name", [*FORMATS, "x.parquet"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_file_that_another_run_writes_is_left_alone(name: str, begun: bool) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    named = sources()
    posebench.predict(seer(), named, **options(f"whole{name}"))
    first = posebench.predict(seer(), named, stream=True, **options(name))
    second = posebench.predict(seer(), named, stream=True, **options(name))  # nobody has begun
    done = [next(first)]
    with pytest.raises(UsageError, match="Another run is writing x") as raised:
        if begun:
            posebench.predict(seer(), named, resume=True, **options(name))
        else:
            next(second)
    assert len(str(raised.value).splitlines()) == 1
    assert len([*done, *first]) == 20
    assert Path(name).read_bytes() == Path(f"whole{name}").read_bytes()
    posebench.predict(seer(), named, **options(name))  # it is free again


def records(name: str) -> int:
    if name.endswith("parquet"):
        import pandas

        return len(pandas.read_parquet(name))
    if name.endswith(".json"):
        return len(json.loads(Path(name).read_text()))
    return len(Path(name).read_bytes().splitlines()) - name.endswith(".csv")


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_loses_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr("posebench.engine.prediction.output._SAVE_S", 0.0)
    named = sources()
    given: dict[str, Any] = {"out": name, "batch_size": 4}
    posebench.predict(seer(), named, **{**given, "out": f"whole{name}"})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = Path(f"whole{name}").stat().st_size * 6 // 10
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(PosebenchError, match="continued with --resume"):
            posebench.predict(seer(), named, **given)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert 0 < Path(name).stat().st_size < room
    assert records(name) > 0 and records(name) % 4 == 0  # whole batches, in a whole file
    posebench.predict(seer(), named, resume=True, **given)
    assert Path(name).read_bytes() == Path(f"whole{name}").read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_without_people_continues_to_the_same_file(name: str) -> None:
    nobody: dict[str, Any] = {"min_score": 0.9, "batch_size": 4}
    posebench.predict(seer(), sources(), out=f"whole{name}", **nobody)
    stream = posebench.predict(seer(), sources(), stream=True, out=name, **nobody)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    posebench.predict(seer(), sources(), out=name, resume=True, **nobody)
    assert Path(name).read_bytes() == Path(f"whole{name}").read_bytes()


def test_the_progress_of_another_version_is_said() -> None:
    film(Path("x.avi"), 2)
    Path(".x.jsonl.progress.json").write_text('{"request": {}, "line": 3}')
    with pytest.raises(DataError, match="remove it to begin anew"):
        posebench.predict(seer(), "x.avi", out="x.jsonl", resume=True)


def test_other_options_do_not_continue_a_run() -> None:
    film(Path("x.avi"), 8)
    stream = posebench.predict(seer(), "x.avi", stream=True, out="x.jsonl")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="another value of --track"):
        posebench.predict(seer(), "x.avi", out="x.jsonl", track=True, resume=True)


def test_what_is_before_an_unreadable_image_is_kept() -> None:
    for number in (1, 2, 3, 4):
        photo(Path(f"in/{number}.jpg"), number)
    posebench.predict(seer(), "in", out="whole.jsonl", batch_size=3)
    image = Path("in/3.jpg").read_bytes()
    Path("in/3.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="not an image"):
        posebench.predict(seer(), "in", out="x.jsonl", batch_size=3, strict=True)
    assert len(lines("x.jsonl")) == 2
    Path("in/3.jpg").write_bytes(image)
    posebench.predict(seer(), "in", out="x.jsonl", batch_size=3, strict=True, resume=True)
    assert Path("x.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


def test_only_a_stream_is_complete_when_it_is_stopped() -> None:
    film(Path("f.avi"), 8)
    for content, complete in ((b"", True), (Path("f.avi").read_bytes(), False)):
        with served([50], content) as address:
            run = Prediction.begin(seer(), address, out=f"{complete}.jsonl")
            next(frames := iter(run))
            run.stop()
            assert not list(frames)
        assert run.complete == complete
    with served([50]) as address:  # a film before it was stopped
        run = Prediction.begin(seer(), ["f.avi", address], out="x.jsonl")
        next(frames := iter(run))
        run.stop()
        assert not list(frames) and not run.complete
        rest = posebench.predict(
            seer(), ["f.avi", address], out="x.jsonl", resume=True, reopen=0, stream=True
        )
        assert [one.frame for one in islice(rest, 7)] == list(range(1, 8))


def test_a_complete_file_is_not_begun_anew_by_resume() -> None:
    film(Path("x.avi"), 3)
    posebench.predict(seer(), "x.avi", out="x.jsonl", resume=True)  # there was nothing
    with pytest.raises(UsageError, match="is complete"):
        posebench.predict(seer(), "x.avi", out="x.jsonl", resume=True)
    posebench.predict(seer(), "x.avi", out="x.jsonl")
    assert len(lines("x.jsonl")) == 3


def test_a_source_is_never_replaced() -> None:
    Path("x.json").write_bytes(photo(Path("x.jpg"), 1).read_bytes())
    with pytest.raises(UsageError, match="would replace the source"):
        posebench.predict(seer(), ["x.json", "x.jpg"], out="x.json")


def test_pictures_never_replace_files_of_the_user() -> None:
    own = photo(Path("images/a.jpg"), 1)
    before = own.read_bytes()
    photo(Path("a.jpg"), 2)
    for sources in ("images", "images/*.jpg", own):
        with pytest.raises(UsageError, match=r"where the source images.a\.jpg is"):
            posebench.predict(seer(), sources, out=".", save_images=True)
    with pytest.raises(UsageError, match="which has other files"):
        posebench.predict(seer(), ".", recursive=True, out=".", save_images=True)
    assert own.read_bytes() == before
    for _ in range(2):  # those of an earlier run are replaced
        posebench.predict(seer(), "a.jpg", out="results", save_images=True)
    assert pictures("results/images") == ["a.jpg"]


@pytest.mark.parametrize("name", ["batch_size", "limit", "reopen"])
def test_a_number_below_what_makes_sense_is_refused(name: str) -> None:
    given: dict[str, Any] = {name: -1}
    with pytest.raises(UsageError, match=f"Expected {name} of at least"):
        posebench.predict(seer(), photo(Path("a.png"), 1), **given)


def test_an_unknown_ending_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\.parquet, but --out is x\.xml"):
        posebench.predict(seer(), photo(Path("a.png"), 1), out="x.xml")
    assert not Path("x.xml").exists()


def pictures(folder: str) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


def test_pictures_are_written_beside_the_results() -> None:
    named = sources()
    posebench.predict(seer(), named, out="results", save_images=True, track=True, limit=4)
    assert len(lines("results/predictions.jsonl")) == 4
    written = ["1.jpg", "f.avi/000000.jpg", "f.avi/000001.jpg", "f.avi/000002.jpg"]
    assert pictures("results/images") == written


def test_pictures_have_the_likely_people_where_results_have_everybody() -> None:
    photo(Path("a.png"), 3)
    for name in ("x.json", "x.jsonl"):
        posebench.predict(seer(), "a.png", out=f"{name[2:]}/{name}", save_images=True)
    assert len(json.loads(Path("json/x.json").read_text())) == 2
    one, other = (Path(f"{name}/x_images/a.jpg").read_bytes() for name in ("json", "jsonl"))
    assert one == other


def test_sources_of_every_kind_have_pictures() -> None:
    for name in ("in/film.mp4", "in/deep/film.mp4", "film.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        film(Path(name), 2)
    for name, number in (("in/b.jpg", 5), ("in/deep/b.jpg", 6), ("other/d.png", 7), ("e.png", 8)):
        photo(Path(name), number)
    moving = [Image.fromarray(picture(number)) for number in range(2)]
    moving[0].save("moving.gif", save_all=True, append_images=moving[1:], duration=100)
    Path("list.txt").write_text("other/d.png\n")
    with served([5]) as address:
        found = posebench.predict(
            seer(), ["in", "list.txt", "e.*", "film.mp4", "moving.gif", address],
            recursive=True, out="results", save_images=True, track=True, limit=13,
        )  # fmt: skip
    films = ["deep/film.mp4", "film.mp4", "film.mp4-2", "moving.gif"]
    frames = [f"{name}/{index:06d}.jpg" for name in films for index in range(2)]
    # Of a live stream the newest frames count.
    frames += [f"x/{one.frame:06d}.jpg" for one in found if one.source == address]
    images = ["b.jpg", "d.jpg", "deep/b.jpg", "e.jpg"]
    assert len(found) == len(images) + len(frames)
    assert pictures("results/images") == sorted([*images, *frames])


def test_tables_name_a_file_whose_name_is_not_text() -> None:
    """What goes into Parquet, for which pyarrow need not be installed."""
    row = formats._as_text([os.fsdecode(b"caf\xe9.png"), 0, None])
    assert row == ["caf\N{REPLACEMENT CHARACTER}.png", 0, None]


@pytest.mark.parametrize("name", [*FORMATS, "x.parquet"])
def test_a_name_that_is_not_text_is_written(name: str) -> None:
    """As files have that were unpacked from an old archive."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    own = os.fsdecode(b"caf\xe9.png")
    try:
        photo(Path(own), 1)
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    posebench.predict(seer(), ".", out=name, save_images=True)
    assert records(name) > 0
    if name.endswith("csv"):
        assert b"\ncaf\xe9.png,0," in Path(name).read_bytes()
    if name.endswith("json"):
        assert json.loads(Path(name).read_text())[0]["file_name"] == own
    assert pictures("x_images") == [os.fsdecode(b"caf\xe9.jpg")]


def test_links_have_pictures_where_they_are() -> None:
    """As in folders that take some images and films of a data set."""
    photo(Path("set/a.jpg"), 1)
    film(Path("set/f.avi"), 1)
    for name in ("a.jpg", "f.avi"):
        Path("in/deep").mkdir(parents=True, exist_ok=True)
        Path("in/deep", name).symlink_to(Path("../../set", name))
    Path("list.txt").write_text("in/deep/a.jpg\nin/deep/f.avi\n")
    expected = ["a.jpg", "f.avi/000000.jpg"]
    for source, below in (("in", "deep/"), ("in/**/*", "deep/"), ("list.txt", "")):
        out = "of_" + re.sub(r"\W", "_", source)
        posebench.predict(seer(), source, out=out, save_images=True, recursive=True)
        assert pictures(f"{out}/images") == [below + name for name in expected]


def test_memory_does_not_grow_with_the_film(monkeypatch: pytest.MonkeyPatch) -> None:
    film(Path("short.avi"), 30)
    film(Path("long.avi"), 200)

    def peak(name: str) -> int:
        tracemalloc.start()
        for one in posebench.predict(seer(), name, stream=True, out=f"{name}.jsonl", track=True):
            del one
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak("short.avi")  # what is imported and cached at first
    frame = picture(0).nbytes
    assert peak("long.avi") < peak("short.avi") + 20 * frame  # of 170 more


def test_a_stream_that_nobody_takes_leaves_no_thread() -> None:
    before = threading.active_count()
    posebench.predict(seer(), film(Path("x.avi"), 20), stream=True)
    assert threading.active_count() == before
    stream = posebench.predict(seer(), "x.avi", stream=True)
    next(stream)
    del stream
    assert threading.active_count() == before


def test_frames_are_read_while_others_are_computed() -> None:
    run = Prediction.begin(seer(), film(Path("x.avi"), 20), batch_size=4)
    run.reader._background.start()
    waiting = run.reader._background._queue
    deadline = time.monotonic() + 10
    while waiting.qsize() < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert waiting.qsize() == 8  # two batches, and no more
    run.reader.close()
