"""That the help says all that its texts say, as it is rendered."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from posebench.cli import app
from tests.cli.command import run

# Wider than the longest text, so that each stands in one line.
WIDTH = 400
# What rich draws around options.
BOX = re.compile(r"[│╭╮╰╯─]")


def commands() -> dict[str, TyperCommand | TyperGroup]:
    """Return every command and group by its words: "data doctor"; the whole program is ""."""
    whole = get_command(app)
    assert isinstance(whole, TyperGroup)
    return dict(_walk(whole, ()))


def _walk(
    command: TyperCommand | TyperGroup, words: tuple[str, ...]
) -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    yield " ".join(words), command
    for name, child in getattr(command, "commands", {}).items():
        yield from _walk(child, (*words, name))


def plain(rendered: str) -> str:
    """Return a rendered help without its boxes, with single spaces."""
    return " ".join(BOX.sub(" ", rendered).split())


def lost(command: TyperCommand | TyperGroup, rendered: str) -> list[str]:
    """Return the texts of a command that its rendered help lacks or has changed."""
    shown = plain(rendered)
    return [text for text in _texts(command) if text not in shown]


def _texts(command: TyperCommand | TyperGroup) -> Iterator[str]:
    yield _written(command.help)
    for child in getattr(command, "commands", {}).values():
        yield _written((child.help or "").split("\n\n")[0])  # a list has first paragraphs only
    for parameter in command.params:
        assert isinstance(parameter, (TyperArgument, TyperOption))
        yield " ".join([_written(parameter.help), *_automatic(parameter)])


def _written(text: str | None) -> str:
    """Return a help text with the brackets that are escaped for rich as a reader sees them."""
    return " ".join((text or "").replace(r"\[", "[").split())


def _automatic(parameter: TyperArgument | TyperOption) -> Iterator[str]:
    """Yield what typer adds to a text: the default, or that there must be a value."""
    if parameter.required:
        yield "[required]"
    elif isinstance(parameter, TyperOption) and parameter.is_flag:
        if parameter.secondary_opts and parameter.default is not None:
            switch = parameter.opts if parameter.default else parameter.secondary_opts
            yield f"[default: {switch[0].removeprefix('--')}]"
    elif parameter.default is not None:
        yield f"[default: {parameter.default}]"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", WIDTH)


@pytest.mark.parametrize("words", commands())
def test_no_help_text_loses_a_word(words: str) -> None:
    result = run(*words.split(), "--help")
    assert result.code == 0
    assert lost(commands()[words], result.out) == []


@pytest.mark.parametrize("words", commands())
def test_every_help_text_is_a_sentence(words: str) -> None:
    command = commands()[words]
    assert (command.help or "").endswith("."), words
    for parameter in command.params:
        text = getattr(parameter, "help", None) or ""
        assert text.endswith((".", "...")), (words, parameter.name, text)
        assert text[0].isupper() or text[0].isdigit(), (words, parameter.name, text)


@pytest.mark.parametrize("words", commands())
def test_every_argument_is_named_in_capitals(words: str) -> None:
    """As FILE, SOURCE or MODEL; click adds the dots of several ones."""
    for parameter in commands()[words].params:
        if isinstance(parameter, TyperArgument):
            assert re.fullmatch(r"[A-Z]+", str(parameter.metavar)), (words, parameter.name)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("Split [the usual one].", False),
        (r"Split \[the usual one].", True),
        ("Split (default: the usual one).", True),
    ],
)
def test_a_text_in_unescaped_brackets_is_found_to_be_lost(
    text: str, whole: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    program = typer.Typer(rich_markup_mode="rich")

    @program.command()
    def show(
        split: str | None = typer.Option(None, help=text),
        seed: int = typer.Option(7, help="Seed."),
    ) -> None:
        """Show."""

    with pytest.raises(SystemExit):
        program(["--help"])
    command = get_command(program)
    assert isinstance(command, TyperCommand)
    rendered = capsys.readouterr().out
    assert "Seed. [default: 7]" in plain(rendered)
    assert lost(command, rendered) == ([] if whole else [text])
