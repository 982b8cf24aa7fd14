"""Checkpoints from the internet, cached by torch.hub."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor

from posebench.errors import ModelError

_TIMEOUT_S = 20.0  # for a server that does not answer; Python's default is to wait for ever


def download_state_dict(url: str) -> dict[str, Tensor]:
    """Return the state dict at a URL, from torch.hub's cache if it was downloaded before.

    Raises:
        ModelError: it is not cached and cannot be downloaded, or the file is damaged.
    """
    try:
        with downloading():
            weights: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
                url,
                map_location="cpu",
                progress=sys.stderr.isatty(),
                check_hash=True,
                weights_only=True,
            )
    except Exception as error:  # the network, the file or unpickling: there are no weights
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        raise ModelError(
            f"The weights {url} could not be downloaded ({type(error).__name__}): connect to the "
            f"network, or download that file on another machine and put it into {cache}."
        ) from error
    return weights


@contextmanager
def downloading() -> Iterator[None]:
    """Within this context libraries that download print to stderr, and servers must answer.

    torch.hub announces a download on stdout, which belongs to a command's results.
    """
    default_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(default_timeout)
