"""Tiny networks that are really timed: stages, statistics and inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from posebench.bench.flops import audit
from posebench.bench.speed.inputs import HEIGHT, WIDTH, crowd, fixed_batch, write_images
from posebench.bench.speed.memory import peak_growth
from posebench.bench.speed.options import (
    DECODE,
    IMAGE,
    NETWORK,
    PREPROCESS,
    TRANSFER,
    InputCase,
    SpeedOptions,
    TimingJob,
)
from posebench.bench.speed.timed_model import TimedModel
from posebench.data.image_files import read_image
from posebench.layers.oks import oks
from posebench.models import RECIPES, profile_of
from posebench.skeleton import COCO
from tests.builders import make_batch

TINY = [name for name in RECIPES if name.endswith("_tiny")]
SMALL = InputCase(people=3, size=(128, 128))


class Steps:
    """A clock on which every mark is a second after the one before."""

    def __init__(self, device: torch.device) -> None:
        self.stages: list[str] = []

    def start(self) -> None:
        self.stages = []

    def mark(self, stage: str) -> None:
        self.stages.append(stage)

    def stop(self) -> dict[str, float]:
        return dict.fromkeys(self.stages, 1.0)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return write_images(tmp_path_factory.mktemp("images"))


def timed_model(
    name: str, images: tuple[str, ...] = (), case: InputCase = SMALL, **options: Any
) -> TimedModel:
    """Return a model whose every stage takes a second, by default with the forward protocol."""
    chosen = SpeedOptions(**{"protocol": "forward", **options})
    return TimedModel(TimingJob(name, chosen, (case,), images), clock=Steps)


@pytest.mark.parametrize("name", TINY)
def test_network_stages_end_in_what_forward_returns(name: str) -> None:
    model = RECIPES[name].build(COCO).eval()
    batch = make_batch((2,))
    people = profile_of(model.config).given_people(model, batch)
    with torch.inference_mode():
        *_, (_, outputs) = profile_of(model.config).stages(model, batch.images, None, people)
        expected = model(batch.images, people=people)
    assert type(outputs) is type(expected)
    for field, value in vars(expected).items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(getattr(outputs, field), value)


@pytest.mark.parametrize("name", TINY)
def test_end_to_end_has_a_clock_for_every_stage(name: str, images: tuple[str, ...]) -> None:
    model = timed_model(name, images, InputCase(people=2), protocol="end-to-end")
    [stages] = model.measure_for(0, 0.0)
    assert list(stages)[:3] == [IMAGE, PREPROCESS, TRANSFER]
    assert list(stages)[-1] == DECODE
    assert all(stage.startswith(NETWORK) for stage in list(stages)[3:-1])
    assert len(stages) > 4


def test_cids_stages_are_those_of_its_figure() -> None:
    model = timed_model("cid_tiny")
    [stages] = model.measure_for(0, 0.0)
    assert list(stages) == [f"{NETWORK}{s}" for s in ("backbone", "heatmaps", "IIA", "GFD")]


@pytest.mark.parametrize(("name", "decodes"), [("cid_tiny", False), ("posedet_tiny", True)])
def test_a_papers_time_ends_where_the_paper_says(name: str, decodes: bool) -> None:
    model = timed_model(name, protocol="paper")
    [stages] = model.measure_for(0, 0.0)
    assert (DECODE in stages) == decodes
    assert IMAGE not in stages


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", TINY)
def test_low_precisions_run(name: str, precision: str, images: tuple[str, ...]) -> None:
    model = timed_model(
        name, images, InputCase(people=1), precision=precision, protocol="end-to-end"
    )
    assert DECODE in model.measure_for(0, 0.0)[0]
    assert next(model.model.parameters()).dtype in (torch.bfloat16, torch.float16)


@pytest.mark.parametrize("name", TINY)
def test_statistics_are_those_of_the_case(name: str, images: tuple[str, ...]) -> None:
    model = timed_model(name, images, batch_size=2, protocol="end-to-end")
    stats = model.prepare(0)
    assert stats.size == (128, 128)
    assert stats.weight_bytes >= 4 * stats.parameters * 0.98  # batch norms are folded
    assert stats.macs > 10**7
    assert 0 < stats.decoded <= 3
    alone = audit(RECIPES[name], (128, 128), people=3)
    assert stats.macs == pytest.approx(2 * alone.executed.macs, rel=1e-6)


def test_a_turn_lasts_as_long_as_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posebench.bench.speed.clock._MAX_PASSES", 5)
    model = timed_model("cid_tiny")
    assert len(model.measure_for(0, 0.0)) == 1
    assert len(model.measure_for(0, 600.0)) == 5  # passes at most, whatever time is left


def test_alternatives_are_timed_each_for_itself() -> None:
    model = timed_model("cid_tiny", alternatives=True)
    [stages] = model.measure_for(0, 0.0)
    assert {"GFD", "RoIAlign+", "RoIAlign*"} <= set(stages)


def test_regions_of_the_figure_have_its_sizes() -> None:
    recipe = RECIPES["cid_tiny"]
    model = recipe.build(COCO).eval()
    alternatives = profile_of(model.config).alternatives
    assert alternatives is not None
    with torch.inference_mode():
        ways = alternatives(model, make_batch((3, 1)))
        shapes = {name: tuple(way().shape) for name, way in ways.items()}
    joined = 15 * 24
    assert shapes["GFD"] == (4, 17, 32, 32)
    assert shapes["RoIAlign+"] == shapes["RoIAlign*"] == (4, joined, 56, 56)
    assert shapes["RoIAlign+ of S"] == shapes["RoIAlign* of S"] == (4, 32, 56, 56)


@pytest.mark.parametrize("people", [0, 1, 5, 50])
def test_a_crowd_stands_apart_on_the_picture(people: int) -> None:
    poses = crowd(people, COCO)
    assert len(poses) == people
    assert (poses.keypoints >= 0).all()
    assert (poses.keypoints <= torch.tensor([WIDTH, HEIGHT])).all()
    if people > 1:
        one, other = poses[:1], poses[1:]
        similarity = oks(
            one.keypoints.float(), other.keypoints.float(), other.visibility > 0,
            other.area.float(), torch.tensor(COCO.sigmas),
        )  # fmt: skip
        assert similarity.max() < 0.3


def test_pictures_are_the_same_every_time(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    first, second = (write_images(folder) for folder in folders)
    assert [Path(a).read_bytes() for a in first] == [Path(b).read_bytes() for b in second]
    assert {read_image(Path(path)).shape for path in first} == {(HEIGHT, WIDTH, 3)}


def test_fixed_inputs_keep_their_people_where_they_stand() -> None:
    batch = fixed_batch((240, 320), 2, COCO, 4)
    torch.testing.assert_close(batch.poses[1].keypoints, crowd(4, COCO).keypoints / 2)
    torch.testing.assert_close(batch.poses[0].area, crowd(4, COCO).area / 4)


def test_memory_rises_by_what_is_held() -> None:
    def hold() -> None:
        torch.ones(64 * 2**20 // 4).sum()

    assert 60 * 2**20 < peak_growth(torch.device("cpu"), hold) < 90 * 2**20


def test_memory_is_watched_where_the_system_keeps_no_highest_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("posebench.bench.speed.memory._reset_peak", lambda: False)
    held: list[torch.Tensor] = []

    def hold() -> None:
        held.append(torch.ones(64 * 2**20 // 4))
        wait()

    wait = _until_watched(monkeypatch)
    assert peak_growth(torch.device("cpu"), hold) > 60 * 2**20


def _until_watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what waits until the watcher has looked twice more."""
    import threading

    from posebench.bench.speed import memory

    looked = threading.Semaphore(0)
    resident = memory._resident

    def look(field: str) -> int:
        found = resident(field)
        looked.release()
        return found

    monkeypatch.setattr(memory, "_resident", look)

    def wait() -> None:
        while looked.acquire(blocking=False):
            pass
        looked.acquire(timeout=60)
        looked.acquire(timeout=60)

    return wait
