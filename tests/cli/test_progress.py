"""Progress bars at several widths, kept as text, and the lines that stand for them elsewhere.

After a wanted change: POSEBENCH_SCREENS=write pytest tests/cli/test_progress.py writes them anew.
"""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from posebench.cli import train_progress
from posebench.cli.progress import LINE_S, ProgressBar, parts
from posebench.engine.callbacks import StepReport
from tests.cli.kept_screens import check_screen


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def report(step: int, epoch: int = 1) -> StepReport:
    terms = {"keypoint": 1.5, "contrastive": 0.25, "instance": 0.373}
    return StepReport(step, 24000, epoch, 1e-3, 2.123, terms, 31.2)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_count_and_time_left_come_before_the_loss_terms(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(train_progress, "progress_bar", lambda: ProgressBar(console, clock))
    progress = train_progress.TrainProgress()
    for step in range(1, 1234):
        clock.now += 0.3
        progress.on_step(report(step))
    progress.on_eval_progress(3, 200)
    clock.now += 10
    progress.on_eval_progress(40, 200)
    console.print(progress.bar.get_renderable())
    text = file.getvalue()
    assert "1233/24000" in text
    assert "1:53:51" in text
    check_screen(f"progress-{width}", text)


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, file = Clock(), io.StringIO()
    console = Console(file=file, width=40)
    monkeypatch.setattr(train_progress, "progress_bar", lambda: ProgressBar(console, clock))
    with train_progress.TrainProgress() as progress:
        for step in range(1, 102):
            clock.now += 1.0
            progress.on_step(report(step, epoch=1 if step <= 70 else 2))
    lines = file.getvalue().splitlines()
    counts = [line.split()[1] for line in lines]
    assert counts == ["6/24000", "36/24000", "66/24000", "70/24000", "101/24000"]
    assert "left  epoch 1  31 images/s  loss 2.123  keypoint 1.500" in lines[1]


def test_work_that_is_tracked_writes_lines_too() -> None:
    clock, file = Clock(), io.StringIO()
    with ProgressBar(Console(file=file), clock) as bar:
        for _ in bar.track(range(4), description="count"):
            clock.now += LINE_S
    assert file.getvalue().splitlines()[0].startswith("count 1/4")


def test_a_note_is_cut_at_whole_parts() -> None:
    file = io.StringIO()
    console = Console(file=file, width=60, force_terminal=True, color_system=None)
    bar = ProgressBar(console)
    bar.add_task("train", total=10, note=parts("epoch 1", "a long part that does not fit in it"))
    console.print(bar.get_renderable())
    assert file.getvalue().rstrip().endswith("epoch 1")
