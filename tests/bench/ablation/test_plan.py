"""The number of steps that a budget allows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from posebench.bench.ablation import plan as planning
from posebench.bench.ablation.config import StudyConfig
from posebench.bench.ablation.experiments import resolve
from posebench.bench.ablation.plan import make_plan
from posebench.errors import UsageError


def test_a_budget_is_measured_once(config: StudyConfig, tmp_path: Path) -> None:
    timed = replace(config, epochs=0, budget_s=30.0)
    first = make_plan(timed, tmp_path / "ablate", lambda _: 0.5)
    assert first.steps == 60
    again = make_plan(timed, tmp_path / "ablate", lambda _: 99.0)
    assert again == first
    with pytest.raises(UsageError, match="begun with another data_root"):
        make_plan(replace(timed, data_root="/elsewhere"), tmp_path / "ablate", lambda _: 0.5)


def test_a_budget_is_the_slowest_trainings(
    config: StudyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = replace(config, epochs=0, budget_s=30.0)
    seen: list[float] = []

    def seconds(config: StudyConfig, training: object) -> float:
        seen.append(1.0 + len(seen))
        return seen[-1]

    monkeypatch.setattr(planning, "_seconds_per_step", seconds)
    assert planning.seconds_per_step(timed) == 2.0  # of two different trainings


def test_a_step_is_timed(config: StudyConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_MEASURED_S", 0.0)
    training = resolve(config)[0].training
    assert training is not None
    assert 0 < planning._seconds_per_step(config, training) < 60
