"""A file from an address: resumed, tried again, checked, and renamed only when it is whole.

pooch and torch.hub begin a cut file anew, pooch knows no hash prefixes, and huggingface_hub's
download locks and checks only files of its own hub; hence urllib.
"""

from __future__ import annotations

import errno
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from posebench.downloads.cache import cache_folder, hash_in_name
from posebench.downloads.network import (
    MIRROR,
    Cut,
    Patience,
    Refused,
    Unreachable,
    check_reachable,
    mirrored,
    offline_reason,
    open_url,
    said,
)
from posebench.downloads.parts import Part, locked_part
from posebench.downloads.showing import Progress, progress_of
from posebench.errors import ModelError

_BLOCK_BYTES = 2**16
_BETWEEN_S = 0.1  # two calls of a progress callback
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # statuses that another try may mend
_SAID = {
    401: "asks for a login",
    403: "may not be downloaded from here",
    404: "does not exist",
    407: "is behind a proxy that asks for a login (https_proxy=http://user:password@host:port)",
    410: "does not exist any more",
}  # fmt: skip


def download(
    url: str,
    target: Path,
    *,
    sha256: str = "",
    sha384: str = "",
    size: int | None = None,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> Path:
    """Fetch a file unless it is there, and return its path.

    The bytes go into a part file beside it, which a later call resumes and other processes wait
    for. A file that is there already is not checked: it may have been put there by hand.

    Args:
        url: an http, https or file address; $POSEBENCH_MIRROR replaces its scheme and host.
        target: where the file will be.
        sha256: its hash, or the first digits of it; empty: it is not checked.
        sha384: the same, for a source that states this one and no SHA-256.
        size: in bytes, if it is known exactly.
        progress: called with the bytes that are here and their total, if that is known; without
            one, the reporter of `shown_by` is asked.
        patience: how long to wait and how often to try.

    Raises:
        ModelError: the file cannot be had; the sentence says why, and what to do by hand.
    """
    if target.is_file():
        return target
    stated = ("sha256", sha256.lower()) if sha256 or not sha384 else ("sha384", sha384.lower())
    fetch = _Fetch(url, mirrored(url), target, *stated, size, patience or Patience())
    if reason := offline_reason():
        raise ModelError(f"{target.name} is not here, and {reason} forbids downloads: {fetch.hand}")
    with progress_of(target.name) if progress is None else _as_context(progress) as report:
        fetch.run(_Paced(report))
    return target


def download_cached(url: str, *, name: str = "", sha256: str = "", size: int | None = None) -> Path:
    """Return a file of the cache folder, downloaded if it is not there.

    Args:
        url: its address.
        name: its name in the folder; empty: the address's.
        sha256: as for `download`; empty: the digits that the name carries, if it does.
        size: in bytes, if it is known exactly.

    Raises:
        ModelError: the file cannot be had; the sentence says why, and what to do by hand.
    """
    published = _name(url)
    target = cache_folder() / (name or published)
    return download(url, target, sha256=sha256 or hash_in_name(published), size=size)


@contextmanager
def _as_context(progress: Progress) -> Iterator[Progress]:
    yield progress


class _Paced:
    """A progress callback that is not called for every block."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._next = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        if (now := time.monotonic()) >= self._next or done == total:
            self._next = now + _BETWEEN_S
            self._progress(done, total)


@dataclass
class _Fetch:
    """One file on its way."""

    url: str  # as published
    asked: str  # the same, or on a mirror
    target: Path
    algorithm: str  # of the hash
    hash: str  # or its first digits; empty: none is stated
    size: int | None
    patience: Patience
    etag: str = ""  # of the bytes that this process received

    @property
    def hand(self) -> str:
        """What to do by hand, as the end of a sentence."""
        return f"download {self.url} on another machine and put it into {self.place}."

    @property
    def place(self) -> str:
        name, folder = self.target.name, self.target.parent
        return str(folder) if name == _name(self.url) else f"{folder} as {name}"

    @property
    def instead(self) -> str:
        """What else can be done, as the end of a sentence."""
        return self.hand if self.asked == self.url else f"unset {MIRROR}, or {self.hand}"

    @property
    def source(self) -> str:
        """What was asked for, as the beginning of a sentence that ends with `instead`."""
        return self.target.name if self.asked == self.url else f"{self.asked} (of {MIRROR})"

    def run(self, report: Progress) -> None:
        """Bring the file to its place.

        Raises:
            ModelError: it cannot be had.
        """
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            with locked_part(self.target, lambda done: report(done, self.size)) as part:
                if part is not None:
                    self._fill(part, report)
                    self._check_hash(part, report)
                    part.becomes(self.target)
        except OSError as error:  # of the disk: those of the network have become sentences
            raise self._disk_error(error) from error

    def _fill(self, part: Part, report: Progress) -> None:
        patience = self.patience
        failures, most, last_progress_s = 0, part.size, time.monotonic()
        try:
            if part.size != self.size:
                check_reachable(self.asked, patience)
            while (cut := self._attempt(part, report)) is not None:
                if part.size >= most + patience.progress_bytes:
                    failures, most, last_progress_s = 0, part.size, time.monotonic()
                failures += 1
                pause_s = max(patience.pause_s * 2 ** (failures - 1), cut.wait_s)
                waited_s = time.monotonic() + pause_s - last_progress_s
                if failures >= patience.tries or waited_s > patience.total_s:
                    raise self._cut_too_often(part, cut) from cut
                time.sleep(pause_s)
        except Unreachable as error:
            raise ModelError(
                f"{self.source} cannot be downloaded, since {error}: connect to the network, or "
                f"{self.instead}"
            ) from error
        except Refused as error:
            if self.asked != self.url:
                raise ModelError(f"{self.source} {error}: {self.instead}") from error
            raise ModelError(
                f"{self.url} {error}: get the file in another way, with a browser or from its "
                f"authors, and put it into {self.place}."
            ) from error

    def _attempt(self, part: Part, report: Progress) -> Cut | None:
        """Receive what is missing; return what came in the way of the rest."""
        try:
            self._receive(part, report)
        except Cut as cut:
            return cut
        return None

    def _cut_too_often(self, part: Part, last: Cut) -> ModelError:
        kept = f" (the first {_megabytes(part.size)} are kept)" if part.size else ""
        return ModelError(
            f"The download of {self.source} was cut too often, the last time because {last}: try "
            f"again later{kept}, or {self.instead}"
        )

    def _receive(self, part: Part, report: Progress) -> None:
        """Receive the bytes that are missing.

        Raises:
            Cut: some are still missing; another try may bring them.
            Refused: another try would not.
        """
        if self.size is not None and part.size > self.size:
            part.restart()
        if part.size and part.size == self.size:
            return  # stopped before it was renamed
        try:
            response = open_url(self.asked, self._headers(part), self.patience)
        except HTTPError as error:
            with error:
                self._status(error, part)
            return
        with response:
            self._read(_Answer.of(response, part.size), part, report)

    def _headers(self, part: Part) -> dict[str, str]:
        """Return what asks for the missing bytes, if they are of the same version of the file."""
        if not part.size:
            return {}
        version = self.etag or (part.modified_s and formatdate(part.modified_s, usegmt=True))
        if not version and not self.hash:
            part.restart()  # nothing could tell whether the rest is of the same file
            return {}
        headers = {"Range": f"bytes={part.size}-"}
        return {**headers, "If-Range": version} if version else headers

    def _status(self, error: HTTPError, part: Part) -> None:
        if error.code == 416:  # there are no bytes beyond those that are here
            has, size = error.headers.get("Content-Range", "").strip(), part.size
            if has == f"bytes */{size}" and self.size in (None, size):
                return
            part.restart()
            if has == f"bytes */{size}":
                self._check_total(size)
            raise Cut("the server has fewer bytes than were received")
        if error.code in _AGAIN:
            wait = error.headers.get("Retry-After", "")
            raise Cut(
                f"the server answered {error.code} {error.reason}",
                float(wait) if wait.isdecimal() else 0.0,
            )
        known = _SAID.get(error.code, "cannot be downloaded")
        reason = " ".join(str(error.reason).split())[:80]
        raise Refused(f"{known} ({error.code} {reason})")

    def _read(self, answer: _Answer, part: Part, report: Progress) -> None:
        patience = self.patience
        block = answer.block()
        if answer.is_page or block.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
            raise Refused(
                "brought a web page in place of the file (of a login, or of a drive that wants a "
                "click)"
            )
        self._check_total(answer.total)
        if not self._continues(answer, part):
            part.restart()
            if answer.start:
                raise Cut("the file changed on the server")
        self.etag = answer.etag
        self._check_space(answer.total, part)
        window_s, window_bytes = time.monotonic(), part.size
        most = self.size or answer.total or patience.most_bytes
        while block:
            part.append(block, answer.modified_s)
            report(part.size, self.size or answer.total)
            if part.size > most:
                part.restart()
                raise Refused(f"sends more than {most} bytes")
            if (now := time.monotonic()) > window_s + patience.slow_s:
                if part.size < window_bytes + patience.slow_bytes:
                    raise Cut("bytes only trickled in")
                window_s, window_bytes = now, part.size
            if part.size == answer.total:
                break  # not to wait for a server that leaves the connection open
            block = answer.block()
        total = answer.total or self.size
        if not part.size or (total is not None and part.size < total):
            of = "" if total is None else f" of {total}"
            raise Cut(f"the connection was closed after {part.size}{of} bytes")

    def _continues(self, answer: _Answer, part: Part) -> bool:
        """Return whether an answer's bytes follow the part's, in the same version of the file."""
        # Some servers ignore If-Range, and send the rest of another version.
        tags = (self.etag, answer.etag)
        times = (part.modified_s, answer.modified_s)
        return answer.start == part.size and all(
            not old or not new or old == new for old, new in (tags, times)
        )

    def _check_total(self, total: int | None) -> None:
        if total == 0:
            raise Refused("is an empty file")
        if total is not None and self.size is not None and total != self.size:
            raise Refused(f"has {total} bytes, not {self.size}; it is another file, or damaged")

    def _check_space(self, total: int | None, part: Part) -> None:
        missing = (total or self.size or 0) - part.size
        if shutil.disk_usage(self.target.parent).free < missing:
            raise OSError(errno.ENOSPC, "No space left on device")

    def _check_hash(self, part: Part, report: Progress) -> None:
        found = part.digest(self.algorithm) if self.hash else ""
        if not found.startswith(self.hash) and part.inherited:
            part.restart()  # the first bytes may be of another version of the file
            self._fill(part, report)
            found = part.digest(self.algorithm)
        if not found.startswith(self.hash):
            part.restart()
            name, digits = self.algorithm.replace("sha", "SHA-"), max(min(len(self.hash), 16), 8)
            raise ModelError(
                f"{self.source} is damaged or another file (its {name} begins with "
                f"{found[:digits]}, not {self.hash[:digits]}), so the download was removed: try "
                f"again later, or {self.instead}"
            )

    def _disk_error(self, error: OSError) -> ModelError:
        folder = self.target.parent
        if error.errno in _FULL:
            needed = f" for its {_megabytes(self.size)}" if self.size else ""
            return ModelError(
                f"The disk of {folder} has no room for {self.target.name}{needed}: make room and "
                f"try again (what has arrived is resumed), or {_elsewhere(folder)}."
            )
        return ModelError(
            f"{self.target} cannot be written ({error.strerror or error}): make the folder "
            f"writable, or {_elsewhere(folder)}."
        )


def _elsewhere(folder: Path) -> str:
    if folder == cache_folder():
        return "let TORCH_HOME name a folder elsewhere"
    return "choose another folder"


@dataclass
class _Answer:
    """A response that brings bytes."""

    response: Any
    start: int  # the place of its first byte in the file
    total: int | None  # bytes of the whole file, if the server says
    etag: str  # empty: none, or one that does not stand for the very bytes
    modified_s: float  # 0: the server does not say

    @classmethod
    def of(cls, response: Any, asked_from: int) -> _Answer:
        """Read the headers.

        Raises:
            Cut: the server sends another range than the one that was asked for.
        """
        headers = response.headers
        etag = headers.get("ETag", "").strip()
        modified_s = 0.0
        with suppress(ValueError, TypeError):
            modified_s = parsedate_to_datetime(headers["Last-Modified"]).timestamp()
        length = headers.get("Content-Length", "").strip()
        start, total = 0, int(length) if length.isdecimal() else None
        if response.status == 206:
            found = re.fullmatch(
                r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", "").strip()
            )
            if found is None or int(found[1]) != asked_from:
                raise Cut("the server sent other bytes than those that were missing")
            start, total = asked_from, int(found[2]) + 1 if found[3] == "*" else int(found[3])
        etag = "" if etag.startswith("W/") else etag
        return cls(response, start, total, etag, max(modified_s, 0.0))

    @property
    def is_page(self) -> bool:
        return self.response.headers.get_content_type() in ("text/html", "application/xhtml+xml")

    def block(self) -> bytes:
        """Return the bytes that have arrived; empty at the end.

        Raises:
            Cut: the connection broke.
        """
        try:
            read: bytes = self.response.read1(_BLOCK_BYTES)
        except (OSError, HTTPException, ValueError) as error:
            raise Cut(said(error)) from error
        return read


def _name(url: str) -> str:
    return unquote(PurePosixPath(urlsplit(url).path).name)


def _megabytes(size: int) -> str:
    return f"{max(size / 1e6, 0.1):.1f} MB"
