"""Downloads are shown on stderr."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from posebench.cli.common import progress_bar
from posebench.cli.downloads import show_download
from tests.cli.command import TINY, run


def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    monkeypatch.setattr("posebench.cli.common.messages", console)
    monkeypatch.setattr("posebench.cli.downloads.messages", console)
    return text


def test_a_terminal_shows_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = terminal(monkeypatch)
    with show_download("weights.pth") as progress:
        progress(20_000_000, 118_000_000)
    assert "downloading weights.pth" in text.getvalue()
    assert "20/118" in text.getvalue()


def test_a_bar_that_is_there_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    text = terminal(monkeypatch)
    with progress_bar() as bar:
        bar.add_task("training", total=3)
        with show_download("weights.pth") as progress:
            progress(20_000_000, None)
        bar.refresh()
    assert "training" in text.getvalue()


def test_without_a_terminal_a_long_download_has_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = io.StringIO()
    monkeypatch.setattr("posebench.cli.common.messages", Console(file=text, width=100))
    monkeypatch.setattr("posebench.cli.progress.FIRST_LINE_S", 0.0)
    with show_download("weights.pth") as progress:
        progress(20_000_000, 118_000_000)
    assert text.getvalue().startswith("downloading weights.pth 20/118")


@pytest.mark.parametrize("weights", [(), ("--weights", "pifpaf_tiny")])
def test_a_training_without_weights_to_begin_with_leaves_nothing(
    weights: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("POSEBENCH_OFFLINE", "1")
    command = ("train", "cid_tiny" if weights else "cid_hrnet_w32_crowdpose", *weights)
    failed = run(*command, "--dataset", "synthetic", "--limit", "2", *TINY)
    assert failed.code == 4, failed.err
    assert ("leave out --weights" if weights else "--no-pretrained") in failed.err
    assert not Path("runs").exists()
