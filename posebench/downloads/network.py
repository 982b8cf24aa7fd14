"""The way to a server: mirrors, proxies, offline mode, and how long to wait for an answer."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from threading import Thread
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import ProxyHandler, Request, build_opener, getproxies, proxy_bypass

from posebench.errors import UsageError

T = TypeVar("T")

OFFLINE = "POSEBENCH_OFFLINE"
MIRROR = "POSEBENCH_MIRROR"
_OFFLINE = (OFFLINE, "HF_HUB_OFFLINE")  # the latter is set where computing nodes have no network
_OPTION = "--offline"  # which sets the first one to its name
_NO = ("", "0", "false", "no", "off")


@dataclass(frozen=True)
class Patience:
    """How long a download waits and tries again; the defaults end within a minute."""

    tries: int = 5  # in a row that bring less than `progress_bytes`
    pause_s: float = 0.5  # before the second try; it doubles from try to try
    total_s: float = 40.0  # no new try this long after the last `progress_bytes` came
    progress_bytes: int = 2**20
    connect_s: float = 3.0  # for the first connection, which is tried twice
    silence_s: float = 15.0  # without a byte
    slow_s: float = 30.0  # a try is cut if fewer than `slow_bytes` came in so long
    slow_bytes: int = 2**15
    most_bytes: int = 2**34  # of a file whose size nobody has stated


class Unreachable(Exception):
    """No connection: its text says what is in the way, as the beginning of a sentence."""


class Refused(Exception):
    """The server's answer is final: its text is what it said, to follow the address."""


class Cut(Exception):
    """What another try may mend; its text says what happened, to follow "the last time"."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s  # as the server asked


def is_offline() -> bool:
    """Return whether downloads are forbidden, by `go_offline` or an environment variable."""
    return bool(offline_reason())


def offline_reason() -> str:
    """Return the option or the variable that forbids downloads; empty: they are allowed."""
    values = {name: os.environ.get(name, "").lower() for name in _OFFLINE}
    name = next((name for name, value in values.items() if value not in _NO), "")
    return _OPTION if values.get(name) == _OPTION else name


def go_offline() -> None:
    """Forbid downloads in this process, and in those that it starts from now on."""
    os.environ[OFFLINE] = _OPTION


def mirrored(url: str) -> str:
    """Return the address on the mirror that $POSEBENCH_MIRROR names, or the address itself.

    Raises:
        UsageError: the variable holds no address.
    """
    mirror = os.environ.get(MIRROR, "").strip()
    if not mirror or urlsplit(url).scheme == "file":
        return url
    if urlsplit(mirror).scheme not in ("http", "https", "file"):
        raise UsageError(
            f"{MIRROR} is {mirror!r}, but must be an address such as https://mirror.example.org: "
            "it takes the place of a download's scheme and host."
        )
    wanted = urlsplit(url)
    return mirror.rstrip("/") + urlunsplit(("", "", wanted.path, wanted.query, ""))


def check_reachable(url: str, patience: Patience) -> None:
    """Connect to a server, or to the proxy on the way to it; it takes seconds.

    Raises:
        Unreachable: two tries have failed.
    """
    where = urlsplit(url)
    if where.scheme == "file":
        return
    via = _proxy(url)
    stop = urlsplit(via) if via else where
    host, port = stop.hostname or "", stop.port or (443 if stop.scheme == "https" else 80)
    who = f"the proxy {host}" if via else host
    for last in (False, True):
        try:
            within(patience.connect_s, partial(_connect, host, port, patience.connect_s))
            return
        except OSError as error:
            if last:
                raise Unreachable(_why_unreachable(error, who)) from error
        time.sleep(patience.pause_s)


def open_url(url: str, headers: Mapping[str, str], patience: Patience) -> Any:
    """Return the response to a GET request; redirects are followed and proxies are used.

    Raises:
        HTTPError: the server answered with a status of 300 or above.
        Refused: the connection cannot be trusted, or the proxy's kind is not known.
        Cut: there was no answer, or only half of one.
    """
    opener = build_opener(ProxyHandler(_proxies()))
    opener.addheaders = [("User-Agent", "posebench"), ("Accept-Encoding", "identity")]
    request = Request(url, headers=dict(headers))
    try:
        # The socket's limit is for one silence: a server that trickles headers passes it.
        return within(
            2 * patience.silence_s, partial(opener.open, request, timeout=patience.silence_s)
        )
    except HTTPError:
        raise
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise Refused(
                "has a certificate that is not trusted here (behind a proxy that opens "
                "connections, let SSL_CERT_FILE name the proxy's certificate)"
            ) from error
        if isinstance(reason, FileNotFoundError | IsADirectoryError | PermissionError):
            raise Refused("is not a file that can be read") from error  # of a file:// address
        if str(reason).startswith("Tunnel connection failed: 4"):  # so says http.client
            raise Refused(f"is behind a proxy that refuses ({reason})") from error
        raise Cut(said(reason)) from error


def within(seconds: float, function: Callable[[], T]) -> T:
    """Return a function's result, or leave it alone after a time; a name's look-up has no limit.

    Raises:
        TimeoutError: it took longer.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:  # passed on to the caller's thread
            errors.append(error)

    thread = Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError("timed out")
    return results[0]


def said(reason: object) -> str:
    """Return what an error of the network says, in a few words."""
    if isinstance(reason, TimeoutError):
        return "no answer came"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__


def _connect(host: str, port: int, timeout_s: float) -> None:
    socket.create_connection((host, port), timeout_s).close()


def _why_unreachable(error: OSError, who: str) -> str:
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
        return f"{who} is not a known host (or there is no network)"
    if isinstance(error, socket.gaierror) or error.errno in (errno.ENETUNREACH, errno.ENETDOWN):
        return f"there is no network on which {who} can be reached"
    if error.errno == errno.ECONNREFUSED:
        return f"{who} refuses connections"
    return f"{who} does not answer, or there is no network"


def _proxies() -> dict[str, str]:
    """Return the proxies of the environment; `all_proxy` stands for those that are not named."""
    proxies = getproxies()
    if every := proxies.pop("all", ""):
        proxies = {"http": every, "https": every, **proxies}
    return proxies


def _proxy(url: str) -> str:
    """Return the proxy that the address is asked from; empty: the server itself is asked.

    Raises:
        Unreachable: it is of another kind than HTTP.
    """
    server = urlsplit(url)
    proxy = _proxies().get(server.scheme, "")
    if not proxy or proxy_bypass(server.hostname or ""):
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise Unreachable(
            f"the proxy {proxy} is no HTTP proxy, and others are not supported (name one in "
            "https_proxy)"
        )
    return proxy
