"""The Python examples of README and docs/python.md, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from posebench.cli import app
from posebench.data.synthetic_crowds import SyntheticCrowds
from posebench.skeleton import COCO

ROOT = Path(__file__).resolve().parents[1]


def examples(page: str) -> str:
    """Return the code of a page's Python blocks, joined as a reader would type them."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
    assert blocks, f"{page} has no example"
    return "\n".join(blocks)


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Fewer synthetic images than a reader gets; nothing else differs.
    monkeypatch.setattr("posebench.data.synthetic_crowds._LENGTHS", {"train": 8, "val": 4})
    picture = SyntheticCrowds(COCO, "val", size=128).load(0).image
    cv2.imwrite("image.jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    exec(compile(examples(page), page, "exec"), {"__name__": "__main__"})


PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.M | re.S)
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text)
    folder = (ROOT / page).parent
    assert not [link for link in links if "://" not in link and not (folder / link).exists()]


def test_commands_of_the_front_page_have_these_options() -> None:
    lines = re.findall(r"^posebench (.*?) +# ", (ROOT / "README.md").read_text(), re.M)
    assert len(lines) == 13
    for line in lines:
        command, words = get_command(app), line.split()
        while isinstance(command, TyperGroup):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line
