"""Checkpoints from the internet, cached by torch.hub or the Hugging Face hub."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import torch
from torch import Tensor

from posebench.errors import ModelError

_TIMEOUT_S = 20.0  # for a server that does not answer; Python's default is to wait for ever
# Before a library that retries for most of a minute, the network gets this many tries of so long.
_TRIES, _TRY_S, _BETWEEN_S = 2, 3.0, 0.5


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


@contextmanager
def hub_within_seconds() -> Iterator[None]:
    """Within this context the Hugging Face hub is not retried if there is no network at all.

    Its library then takes what it has cached, or raises at once. A network that is there but flaky
    gets all of its retries.
    """
    from huggingface_hub import constants

    offline = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = offline or not is_reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def is_reachable(url: str) -> bool:
    """Return whether a server, or the proxy on the way to it, accepts a connection in seconds."""
    host, port = _first_stop(url)
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_BETWEEN_S)
        if _connects(host, port):
            return True
    return False


def _first_stop(url: str) -> tuple[str, int]:
    server = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(server.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(server.hostname or ""):
        server = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    usual = {"https": 443, "socks5": 1080, "socks5h": 1080, "socks4": 1080}
    return server.hostname or "", server.port or usual.get(server.scheme, 80)


def _connects(host: str, port: int) -> bool:
    connections: list[bool] = []

    def connect() -> None:
        with suppress(OSError, ValueError), socket.create_connection((host, port), _TRY_S):
            connections.append(True)

    # A thread, since looking up a name has no time limit.
    thread = Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_TRY_S)
    return bool(connections)
