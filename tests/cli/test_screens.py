"""Help and lists at several widths, kept as text.

After a wanted change: POSEBENCH_SCREENS=write pytest tests/cli/test_screens.py writes them anew.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.cli.kept_screens import check_screen

COMMANDS = {
    "help": ("--help",),
    "help-train": ("train", "--help"),
    "help-demo": ("demo", "--help"),
    "models": ("models",),
    "models-cid": ("models", "cid", "--dataset", "coco", "--sort", "ap"),
    "models-recipe": ("models", "higher_hrnet_w32_coco"),
    "data-list": ("data", "list"),
    "tables-cid-4": ("tables", "cid/4"),
}  # fmt: skip


def pinned(package: str) -> str:
    """Return the version that the tests are known to pass with."""
    pins = (Path(__file__).parents[2] / "requirements" / "linux-py311-dev.txt").read_text()
    [found] = re.findall(rf"^{package}==([^ ]+)", pins, re.M)
    return found


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_screens_are_as_kept(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.startswith("help") and version("typer") != pinned("typer"):
        pytest.skip("typer's versions word options differently; test_help reads the texts")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", width)
    monkeypatch.setattr("posebench.cli.common.out._width", width)
    shown = re.sub(r"Usage: .*posebench", "Usage: posebench", run(*COMMANDS[name]).out)
    if name.startswith(("help", "models")):  # the others have paths and notes in one line each
        assert max(map(len, shown.splitlines())) <= width
    # Boxes and gaps are the libraries' affair, the words and their order are ours.
    check_screen(f"{name}-{width}", shown, compared=lambda text: re.findall(r"[^\s│╭╮╰╯─]+", text))
