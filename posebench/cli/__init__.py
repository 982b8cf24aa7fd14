"""The `posebench` command. Each command imports what it needs when it runs, so help is quick."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from posebench.cli import (
    ablate,
    analyze,
    card,
    compare,
    data,
    demo,
    evaluate,
    export,
    flops,
    models,
    predict,
    speed,
    tables,
    train,
    verify,
    viz,
    weights,
)
from posebench.cli.common import RANK
from posebench.cli.downloads import show_download
from posebench.cli.notices import shown_notices
from posebench.cli.stopping import StoppableGroup, say_stopped
from posebench.downloads.network import go_offline
from posebench.downloads.showing import shown_by
from posebench.engine.allocator import keep_freed_memory
from posebench.errors import Interrupted, PosebenchError

app = typer.Typer(
    name="posebench",
    cls=StoppableGroup,
    help="Compare multi-person pose estimators: train, evaluate, time and visualize them "
    "under one protocol.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("models")(models.models)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("speed")(speed.speed)
app.command("flops")(flops.flops)
app.command("viz")(viz.viz)
app.command("export")(export.export)
app.command("compare")(compare.compare)
app.command("analyze")(analyze.analyze)
app.command("ablate")(ablate.ablate)
app.command("tables")(tables.tables)
app.command("card")(card.card)
app.command("verify")(verify.verify)
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")


def _show_version(wanted: bool) -> None:
    if wanted:
        from posebench.version import package_version

        typer.echo(package_version())
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin",
            metavar="FILE.py",
            help="Add the methods, datasets, metrics and predictors of a file; repeat for other "
            "files; accepted before or after the command.",
        ),
    ] = None,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Show the traceback of an error; accepted before or after the command."
        ),
    ] = False,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Download nothing; accepted before or after the command."),
    ] = False,
) -> None:
    """Options of every command; `main` puts `--plugin` first and removes the flags."""
    from posebench.plugins import PLUGINS

    for file in plugin or ():
        PLUGINS.load_file(file)


def main() -> None:
    """Run the command line; an error that the user can fix is one sentence and an exit code."""
    keep_freed_memory()
    debug = "--debug" in sys.argv
    if "--offline" in sys.argv:
        go_offline()
    words = _plugins_first([word for word in sys.argv[1:] if word not in ("--debug", "--offline")])
    try:
        with _process_group(), shown_notices(), shown_by(show_download):
            app(words)
    except Interrupted as stopped:
        say_stopped(stopped)
        sys.exit(stopped.exit_code)
    except PosebenchError as error:
        if debug:
            raise
        _say(escape(str(error)))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # before the command, or while the processes part
        sys.exit(Interrupted.exit_code)
    except BrokenPipeError:
        # The pipe's reader has closed it; Python would fail again when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        _say(escape(_explain(error)))
        sys.exit(1)


def _plugins_first(words: list[str]) -> list[str]:
    """Return the words with each `--plugin FILE` before the command."""
    first, others, rest = [], [], iter(words)
    for word in rest:
        if word == "--plugin":
            first += [word, *[following for following in [next(rest, None)] if following]]
        elif word.startswith("--plugin="):
            first.append(word)
        else:
            others.append(word)
    return first + others


def _explain(error: Exception) -> str:
    if sys.modules.get("torch"):
        from posebench.torch_pair import check_torch_pair

        try:
            check_torch_pair()  # a mismatch can make any call into torch fail
        except PosebenchError as mismatch:
            return str(mismatch)
    return (
        f"unexpected {type(error).__name__}: {error}. This is a bug in posebench: "
        "run the same command with --debug, and please report what it shows."
    )


def _process_group() -> AbstractContextManager[None]:
    """Return the process group that `torchrun` started, as a context; alone, an empty one."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return nullcontext()
    from posebench.distributed import process_group

    return process_group()


def _say(error: str) -> None:
    # Not through `messages`, which is quiet on all ranks but rank 0.
    where = f"rank {RANK}: " if os.environ.get("WORLD_SIZE", "1") != "1" else ""
    console = Console(stderr=True, highlight=False)
    console.print(f"[bold red]{where}error:[/] {error}", soft_wrap=True)
