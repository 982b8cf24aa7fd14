"""The demo's comparison: rows, turns, pictures' crowds, and models that fail."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from posebench.bench.demo import (
    PICTURES,
    Demo,
    DemoJob,
    DemoModel,
    demo_images,
    run_demo,
)
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.engine import data_hash
from posebench.errors import ModelError, UsageError
from posebench.models import RECIPES
from posebench.shipped import read_card
from posebench.skeleton import COCO
from tests.bench.demo_fakes import FAILURE, FakeModel
from tests.runs.unpack import unpack

NAMES = ("posedet_tiny", "cid_tiny")
IMAGES = 12
CROWDS = SyntheticCrowds(COCO, "val", length=IMAGES, size=64, seed=1)


@pytest.fixture(scope="module")
def calls() -> list[tuple[str, str]]:
    return []


@pytest.fixture(scope="module")
def progress() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def demo(calls: list[tuple[str, str]], progress: list[tuple[str, int, int]]) -> Demo:
    return run_demo(
        NAMES,
        CROWDS,
        on_progress=lambda *report: progress.append(report),
        start=lambda job: FakeModel(job, CROWDS, calls),
    )


def test_a_row_for_each_model_the_best_first(demo: Demo) -> None:
    first, second = (row for _, row in demo.rows.iterrows())
    assert (first["model"], second["model"]) == ("cid_tiny", "posedet_tiny")
    assert (first["method"], second["method"]) == ("cid", "posedet")
    assert first["ap"] == pytest.approx(100) and second["ap"] == 0
    assert first["ap_low"] == pytest.approx(100) and second["ap_high"] == 0
    assert (first["letters"], second["letters"]) == ("a", "b")
    assert first["ms"] == pytest.approx(10) and second["ms"] == pytest.approx(40)
    assert first["fps"] == pytest.approx(100) and second["fps"] == pytest.approx(25)
    assert (first["peak_MB"], second["peak_MB"]) == (12, 34)
    assert first["params_M"] == pytest.approx(2.01, abs=0.01)
    assert (demo.rows["images"] == IMAGES).all() and (demo.rows["seed"] == 0).all()
    assert list(demo.rows["weights_sha256"]) == [read_card(name).sha256 for name in demo.rows.model]
    assert set(demo.rows["seeds"]) == {"training 0, bootstrap 0, images 1"}
    assert set(demo.rows["data_hash"]) == {data_hash(CROWDS)}


def test_models_take_turns_and_are_closed(
    demo: Demo, calls: list[tuple[str, str]], progress: list[tuple[str, int, int]]
) -> None:
    asked = [(name, method) for method in ("prepare", *3 * ["predict"]) for name in NAMES]
    assert calls == [*asked, *((name, "close") for name in NAMES)]
    done = [(what, done) for what, done, total in progress if total == IMAGES * len(NAMES)]
    assert done == [
        ("posedet_tiny: loads", 0), ("cid_tiny: loads", 0), ("posedet_tiny", 0), ("cid_tiny", 10),
        ("posedet_tiny", 20), ("cid_tiny", 22), ("compares", 24),
    ]  # fmt: skip


def test_crowds_are_drawn_that_are_not_scored_with_every_models_people(demo: Demo) -> None:
    counts = [len(crowd.sample.poses) for crowd in demo.crowds]
    assert len(counts) == PICTURES
    assert np.mean(counts) > 2 * np.mean([len(CROWDS.load(i).poses) for i in range(IMAGES)])
    for crowd, count in zip(demo.crowds, counts, strict=True):
        assert list(crowd.people) == ["cid_tiny", "posedet_tiny"]
        assert [len(people) for people in crowd.people.values()] == [count, 0]
        assert crowd.people["cid_tiny"].draw_score == RECIPES["cid_tiny"].draw_score


def test_a_model_that_fails_is_named_and_all_are_closed() -> None:
    calls: list[tuple[str, str]] = []
    with pytest.raises(ModelError, match=r"posedet_tiny failed .*out of memory"):
        run_demo(NAMES, CROWDS, start=lambda job: FakeModel(job, CROWDS, calls, FAILURE))
    assert calls[-2:] == [(name, "close") for name in NAMES]


def test_without_shipped_weights_it_says_what_can_be_done() -> None:
    with pytest.raises(ModelError, match="posebench demo --train"):
        run_demo((), CROWDS)


def test_images_are_neither_those_of_training_nor_those_that_chose_an_epoch() -> None:
    images = demo_images(3)
    chosen_by = SyntheticCrowds(COCO, "val", length=3)
    training = SyntheticCrowds(COCO, "train", length=3)
    for other in (chosen_by, training, demo_images(3, seed=1)):
        assert not np.array_equal(images.load(0).image, other.load(0).image)
    assert np.array_equal(images.load(0).image, demo_images(5).load(0).image)
    with pytest.raises(UsageError, match="seed of at least 0"):
        demo_images(3, seed=-1)


def test_a_model_in_its_process_predicts_and_measures_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack(Path(__file__).parents[1] / "runs" / "cid_tiny", tmp_path / "run")
    model = DemoModel(DemoJob(str(tmp_path / "run"), "cpu"))
    image = CROWDS.load(0).image
    parameters = sum(p.numel() * 4 for p in model.model.fast_network.parameters())
    assert model.prepare(image) > parameters
    ticks = iter((3.0, 5.5))
    with monkeypatch.context() as patch:
        patch.setattr(
            "posebench.bench.demo.time", SimpleNamespace(perf_counter=lambda: next(ticks))
        )
        (prediction,) = model.predict([image])
    people = model.model.predict(image)
    assert prediction.seconds == 2.5
    again = prediction.people(0.5)
    np.testing.assert_array_equal(again.keypoints, people.keypoints.float())
    np.testing.assert_array_equal(again.scores, people.scores.float())
    assert again.skeleton == COCO and again.draw_score == 0.5
