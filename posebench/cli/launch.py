"""`--devices N`: the same command line in N processes on this machine, started by torchrun."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from posebench.cli.stopping import remember_command
from posebench.errors import Interrupted

DevicesOption = Annotated[
    int,
    typer.Option("--devices", min=1, help="Number of processes that share the work, one GPU each."),
]


def launch(processes: int) -> None:
    """Run this command line in several processes and exit with their code; with one, return.

    Raises:
        UsageError: there are fewer GPUs, or `torchrun` has started the processes already.
    """
    if processes == 1:
        return
    import torch

    from posebench.errors import UsageError

    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError("torchrun has started processes already: leave out --devices.")
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise UsageError(f"--devices is at most {gpus}, the GPUs of this machine, not {processes}.")
    remember_command()
    raise typer.Exit(_run(processes, _without_devices(sys.argv[1:])))


def _run(processes: int, words: Sequence[str]) -> int:
    """Return the exit code of the first process that failed, or 0."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    # On a CPU the processes divide its cores; torchrun would give each a single thread.
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // processes, 1)))
    # Each process prints its own error sentence.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    arguments = ["--standalone", f"--nproc-per-node={processes}", "-m", "posebench", *words]
    try:
        run(parse_args(arguments))  # type: ignore[no-untyped-call]
    except ChildFailedError as failure:
        code: int = failure.get_first_failure()[1].exitcode
        return code if code > 0 else 1  # below 0: ended by a signal
    except SignalException:
        return Interrupted.exit_code
    return 0


def _without_devices(words: Sequence[str]) -> list[str]:
    kept = []
    rest = iter(words)
    for word in rest:
        if word == "--devices":
            next(rest, None)
        elif not word.startswith("--devices="):
            kept.append(word)
    return kept
