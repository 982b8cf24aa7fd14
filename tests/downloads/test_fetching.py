"""A download against a server that cuts, lies, stalls or is not there."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from posebench.downloads import (
    Patience,
    Progress,
    download,
    go_offline,
    is_offline,
    shown_by,
)
from posebench.downloads.network import offline_reason
from posebench.downloads.parts import Part
from posebench.errors import ModelError, UsageError
from tests.downloads.server import FileServer

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = 150_000
QUICK = Patience(
    tries=3, pause_s=0.01, total_s=5.0, connect_s=1.0, silence_s=0.2, slow_s=0.2, slow_bytes=1000,
    most_bytes=400_000,
)  # fmt: skip


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.pth"


def part_of(target: Path) -> Path:
    return target.with_name("weights.pth.part")


def test_another_hash_is_checked_where_it_is_the_stated_one(
    server: FileServer, target: Path
) -> None:
    server.serve("/weights.pth", CONTENT)
    right = hashlib.sha384(CONTENT).hexdigest()
    with pytest.raises(ModelError, match=rf"its SHA-384 begins with {right[:16]}, not 0{{16}}\)"):
        download(server.url("/weights.pth"), target, sha384="0" * 96, patience=QUICK)
    assert left(target) == []
    download(server.url("/weights.pth"), target, sha384=right.upper(), patience=QUICK)
    assert target.read_bytes() == CONTENT


def left(target: Path) -> list[str]:
    """Return what is in the folder."""
    return sorted(path.name for path in target.parent.iterdir())


def begin(server: FileServer, target: Path) -> None:
    """Leave the first half of the file in the part, as a download that was stopped."""
    served = server.serve("/weights.pth", CONTENT, cuts=[HALF])
    with pytest.raises(ModelError):
        download(server.url("/weights.pth"), target, patience=Patience(tries=1))
    assert part_of(target).read_bytes() == CONTENT[:HALF]
    served.cuts.clear()
    server.asked.clear()


def test_a_file_arrives_whole_and_is_fetched_once(server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", CONTENT)
    seen: list[tuple[int, int | None]] = []
    for _ in range(2):
        found = download(
            server.url("/weights.pth"), target, sha256=SHA256.upper(), size=len(CONTENT),
            progress=lambda done, total: seen.append((done, total)),
        )  # fmt: skip
        assert found == target
    assert target.read_bytes() == CONTENT
    assert left(target) == ["weights.pth"]
    assert len(server.asked) == 1
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert target.stat().st_mtime > time.time() - 60  # not the server's


def test_a_cut_file_is_continued_in_the_same_call(server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", CONTENT, cuts=[HALF, 50_000])
    download(server.url("/weights.pth"), target, sha256=SHA256[:8], patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=150000-", "bytes=200000-"]
    assert server.asked[1].headers["If-Range"] == '"1"'


@pytest.mark.parametrize("length", [True, False])
def test_a_cut_file_is_continued_in_a_later_call(
    length: bool, server: FileServer, target: Path
) -> None:
    begin(server, target)
    server.files["/weights.pth"].length = length
    download(server.url("/weights.pth"), target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert server.ranges() == ["bytes=150000-"]
    assert server.asked[0].headers["If-Range"] == "Sun, 09 Sep 2001 01:46:40 GMT"


@pytest.mark.parametrize("if_range", [True, False])
def test_two_versions_of_a_file_are_not_mixed(
    if_range: bool, server: FileServer, target: Path
) -> None:
    begin(server, target)
    other = CONTENT[::-1]
    server.serve("/weights.pth", other, etag='"2"', modified_s=1.1e9, if_range=if_range)
    download(server.url("/weights.pth"), target, patience=QUICK)
    assert target.read_bytes() == other


def test_a_version_that_only_its_hash_tells_is_fetched_anew(
    server: FileServer, target: Path
) -> None:
    begin(server, target)
    part_of(target).write_bytes(b"?" * HALF)
    os.utime(part_of(target), (1e9, 1e9))
    download(server.url("/weights.pth"), target, sha256=SHA256[:8], patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert server.ranges() == ["bytes=150000-", None]


def test_without_a_version_or_hash_nothing_is_continued(server: FileServer, target: Path) -> None:
    served = server.serve("/weights.pth", CONTENT, etag="", modified_s=0.0, cuts=[HALF])
    download(server.url("/weights.pth"), target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert server.ranges() == [None, None]
    target.unlink()
    server.asked.clear()
    served.cuts.append(HALF)
    download(server.url("/weights.pth"), target, sha256=SHA256, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=150000-"]


def test_a_server_without_ranges_starts_anew(server: FileServer, target: Path) -> None:
    begin(server, target)
    server.files["/weights.pth"].ranges = False
    download(server.url("/weights.pth"), target, sha256=SHA256, patience=QUICK)
    assert target.read_bytes() == CONTENT


def test_a_server_that_sends_another_range_is_not_believed(
    server: FileServer, target: Path
) -> None:
    begin(server, target)
    server.files["/weights.pth"].shift = 10
    with pytest.raises(ModelError, match="other bytes than those that were missing"):
        download(server.url("/weights.pth"), target, patience=QUICK)
    assert part_of(target).read_bytes() == CONTENT[:HALF]


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_part_that_is_whole_is_only_renamed(
    size: int | None, server: FileServer, target: Path
) -> None:
    begin(server, target)
    part_of(target).write_bytes(CONTENT)
    os.utime(part_of(target), (1e9, 1e9))
    download(server.url("/weights.pth"), target, sha256=SHA256, size=size, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert server.ranges() == ([] if size else ["bytes=300000-"])


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_part_that_is_too_long_is_thrown_away(
    size: int | None, server: FileServer, target: Path
) -> None:
    begin(server, target)
    part_of(target).write_bytes(CONTENT + b"more")
    os.utime(part_of(target), (1e9, 1e9))
    download(server.url("/weights.pth"), target, size=size, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert server.ranges() == ([None] if size else ["bytes=300004-", None])


def test_what_was_killed_is_resumed(server: FileServer, target: Path) -> None:
    served = server.serve("/weights.pth", CONTENT, chunk_s=0.1)
    code = (
        "import sys; from pathlib import Path; from posebench.downloads import download;"
        "download(sys.argv[1], Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, server.url("/weights.pth"), target])
    deadline = time.monotonic() + 10
    while not (part_of(target).exists() and part_of(target).stat().st_size > 50_000):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    received = part_of(target).stat().st_size
    assert left(target) == ["weights.pth.part"]
    served.chunk_s = 0.0
    server.asked.clear()
    download(server.url("/weights.pth"), target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert server.ranges() == [f"bytes={received}-"]


def test_progress_counts_as_new_patience(server: FileServer, target: Path) -> None:
    cuts = [25_000] * 11
    server.serve("/weights.pth", CONTENT, cuts=cuts)
    patience = Patience(tries=2, pause_s=0.01, progress_bytes=20_000)
    download(server.url("/weights.pth"), target, patience=patience)
    assert target.read_bytes() == CONTENT


def test_what_is_cut_too_often_is_kept(server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", CONTENT, cuts=[1000] * 9)
    with pytest.raises(ModelError, match=r"cut too often.*after 3000 of 300000 bytes.*are kept"):
        download(server.url("/weights.pth"), target, patience=QUICK)
    assert len(server.asked) == 3
    assert left(target) == ["weights.pth.part"]


def test_redirects_are_followed_with_their_range(server: FileServer, target: Path) -> None:
    begin(server, target)
    server.serve("/a", status=302, headers={"Location": "/b"})
    server.serve("/b", status=307, headers={"Location": server.url("/weights.pth")})
    download(server.url("/a"), target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert server.ranges() == ["bytes=150000-"] * 3


def test_redirects_in_a_circle_end(server: FileServer, target: Path) -> None:
    server.serve("/a", status=302, headers={"Location": "/a"})
    with pytest.raises(ModelError, match=r"cannot be downloaded \(302"):
        download(server.url("/a"), target, patience=QUICK)
    assert left(target) == []


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "does not exist"), (403, "may not be downloaded from here"), (401, "asks for a login")],
)
def test_a_refusal_is_final(status: int, words: str, server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", status=status)
    with pytest.raises(ModelError) as raised:
        download(server.url("/weights.pth"), target, patience=QUICK)
    message = str(raised.value)
    assert message.startswith(f"{server.url('/weights.pth')} {words} ({status} ")
    assert message.endswith(f"and put it into {target.parent}.")
    assert len(server.asked) == 1
    assert left(target) == []


def test_a_busy_server_is_asked_again(server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", CONTENT, statuses=[503, 429])
    download(server.url("/weights.pth"), target, patience=QUICK)
    assert target.read_bytes() == CONTENT


def test_a_server_that_asks_for_an_hour_is_not_waited_for(server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", status=429, headers={"Retry-After": "3600"})
    start = time.monotonic()
    with pytest.raises(ModelError, match="the server answered 429 Too Many Requests"):
        download(server.url("/weights.pth"), target, patience=QUICK)
    assert time.monotonic() - start < 2
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\n<!DOCTYPE html><title>Virus scan</title>", "application/octet-stream"),
        (b"<p>Please log in", "text/html; charset=utf-8"),
    ],
)
def test_a_page_is_no_file(content: bytes, kind: str, server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", content, kind=kind)
    with pytest.raises(ModelError, match=r"brought a web page in place of the file.*put it into"):
        download(server.url("/weights.pth"), target, patience=QUICK)
    assert left(target) == []


def test_a_page_does_not_cost_what_has_arrived(server: FileServer, target: Path) -> None:
    begin(server, target)
    server.serve("/weights.pth", b"<html>Accept our terms", etag="", modified_s=0.0)
    with pytest.raises(ModelError, match="web page"):
        download(server.url("/weights.pth"), target, patience=QUICK)
    assert part_of(target).read_bytes() == CONTENT[:HALF]


def test_a_wrong_hash_leaves_nothing(server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", CONTENT)
    with pytest.raises(ModelError) as raised:
        download(server.url("/weights.pth"), target, sha256="0123abcd", patience=QUICK)
    message = str(raised.value)
    assert f"begins with {SHA256[:8]}, not 0123abcd), so the download was removed" in message
    assert f"download {server.url('/weights.pth')} on another machine" in message
    assert left(target) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("size", [299_999, 300_001])
def test_a_wrong_size_is_refused_before_it_is_fetched(
    size: int, server: FileServer, target: Path
) -> None:
    server.serve("/weights.pth", CONTENT)
    with pytest.raises(ModelError, match=f"has 300000 bytes, not {size}"):
        download(server.url("/weights.pth"), target, size=size, patience=QUICK)
    assert left(target) == []


def test_more_bytes_than_stated_are_refused(server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", CONTENT, length=False)
    with pytest.raises(ModelError, match="sends more than 299999 bytes"):
        download(server.url("/weights.pth"), target, size=299_999, patience=QUICK)
    assert left(target) == []


def test_fewer_bytes_than_stated_are_missing(server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", CONTENT[:HALF], length=False)
    with pytest.raises(ModelError, match="has 150000 bytes, not 300000"):
        download(server.url("/weights.pth"), target, size=len(CONTENT), patience=QUICK)
    assert left(target) == []


def test_an_empty_file_is_refused(server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", b"")
    with pytest.raises(ModelError, match="is an empty file"):
        download(server.url("/weights.pth"), target, patience=QUICK)
    assert left(target) == []


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"silent_s": 2.0}, "no answer came"),
        ({"trickle_s": 0.02}, "bytes only trickled in"),
        ({"chunk_s": 1.0}, "no answer came"),
    ],
)
def test_a_slow_server_is_not_waited_for(
    how: dict[str, float], words: str, server: FileServer, target: Path
) -> None:
    server.serve("/weights.pth", CONTENT, **how)
    start = time.monotonic()
    with pytest.raises(ModelError, match=f"cut too often, the last time because {words}"):
        download(server.url("/weights.pth"), target, patience=QUICK)
    assert time.monotonic() - start < 3


def test_headers_that_trickle_are_not_waited_for(target: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def trickle() -> None:
            listener.accept()[0].close()  # looks whether anyone is there
            connection = listener.accept()[0]
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                for _ in range(12):
                    connection.sendall(b"X")
                    time.sleep(0.1)

        answering = pool.submit(trickle)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/weights.pth"
        start = time.monotonic()
        patience = Patience(tries=1, silence_s=0.2)
        with pytest.raises(ModelError, match="no answer came"):
            download(url, target, patience=patience)
        assert time.monotonic() - start < 1
        answering.cancel()


def test_an_endless_answer_ends(server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", CONTENT, length=False, endless=True)
    with pytest.raises(ModelError, match="sends more than 400000 bytes"):
        download(server.url("/weights.pth"), target, patience=QUICK)
    assert left(target) == []


def test_a_mirror_takes_the_place_of_the_host(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEBENCH_MIRROR", server.url("/mirror/"))
    server.serve("/mirror/zoo/weights.pth", CONTENT)
    download("https://weights.invalid/zoo/weights.pth", target, sha256=SHA256, patience=QUICK)
    assert target.read_bytes() == CONTENT
    with pytest.raises(ModelError) as raised:
        url = "https://weights.invalid/zoo/other.pth?download=1"
        download(url, target.with_name("other.pth"), patience=QUICK)
    message = str(raised.value)
    assert f"{server.url('/mirror/zoo/other.pth?download=1')} (of POSEBENCH_MIRROR)" in message
    assert f"unset POSEBENCH_MIRROR, or download {url} on another machine" in message


def test_a_mirror_may_be_a_folder(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEBENCH_MIRROR", tmp_path.as_uri())
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo/weights.pth").write_bytes(CONTENT)
    download("https://weights.invalid/zoo/weights.pth", target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    with pytest.raises(ModelError, match="is not a file that can be read"):
        download("https://weights.invalid/zoo/other.pth", target.with_name("other.pth"))


def test_a_mirror_is_an_address(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEBENCH_MIRROR", "mirror.example.org")
    with pytest.raises(UsageError, match="must be an address such as https://"):
        download("https://weights.invalid/weights.pth", target)


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_a_proxy_is_asked_for_the_whole_address(
    variable: str, server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, server.address)
    server.serve("/weights.pth", CONTENT)
    download("http://weights.invalid/weights.pth", target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert server.asked[0].path == "http://weights.invalid/weights.pth"


def test_a_proxy_that_wants_a_login_says_so(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    server.serve("/weights.pth", status=407)
    with pytest.raises(ModelError, match="behind a proxy that asks for a login"):
        download("http://weights.invalid/weights.pth", target, patience=QUICK)


def test_a_proxy_that_forbids_the_host_says_so(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", server.address)
    with pytest.raises(ModelError, match=r"proxy that refuses \(Tunnel connection failed: 403"):
        download("https://weights.invalid/weights.pth", target, patience=QUICK)


def test_a_certificate_that_is_not_trusted_says_so(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untrusted(*_: object, **__: object) -> None:
        raise URLError(ssl.SSLCertVerificationError("certificate verify failed"))

    monkeypatch.setattr("urllib.request.OpenerDirector.open", untrusted)
    with pytest.raises(ModelError, match=r"not trusted here .*SSL_CERT_FILE"):
        download(server.url("/weights.pth"), target, patience=QUICK)


def test_a_proxy_of_another_kind_is_named(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1080")
    with pytest.raises(ModelError, match="is no HTTP proxy"):
        download("https://weights.invalid/weights.pth", target, patience=QUICK)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "?"), "weights.invalid is not a known host"),
        (socket.gaierror(socket.EAI_AGAIN, "?"), "there is no network on which weights.invalid"),
        (OSError(errno.ENETUNREACH, "?"), "there is no network on which weights.invalid"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "?"), "weights.invalid refuses connections"),
        (TimeoutError("timed out"), "weights.invalid does not answer"),
    ],
)
def test_no_network_is_noticed_at_once(
    error: OSError, words: str, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("socket.create_connection", fail)
    start = time.monotonic()
    with pytest.raises(ModelError) as raised:
        download("https://weights.invalid/weights.pth", target, patience=Patience(pause_s=0.1))
    assert time.monotonic() - start < 2
    message = str(raised.value)
    assert message.startswith(f"weights.pth cannot be downloaded, since {words}")
    assert message.endswith(
        "download https://weights.invalid/weights.pth on another machine and put it into "
        f"{target.parent}."
    )
    assert left(target) == []


def test_a_network_that_swallows_everything_takes_seconds(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.create_connection", lambda *_: time.sleep(2))
    start = time.monotonic()
    with pytest.raises(ModelError, match="does not answer, or there is no network"):
        download("https://weights.invalid/weights.pth", target, patience=Patience(connect_s=0.1))
    assert time.monotonic() - start < 1.5


def test_a_flaky_network_gets_a_second_try(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve("/weights.pth", CONTENT)
    connect = socket.create_connection
    failures = [OSError(errno.ENETUNREACH, "?")]

    def flaky(*arguments: object, **options: object) -> socket.socket:
        if failures:
            raise failures.pop()
        return connect(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("socket.create_connection", flaky)
    assert download(server.url("/weights.pth"), target, patience=QUICK).is_file()


@pytest.mark.parametrize("variable", ["POSEBENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_asked(
    variable: str, server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve("/weights.pth", CONTENT)
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ModelError, match=f"not here, and {variable} forbids.*put it into"):
        download(server.url("/weights.pth"), target)
    assert server.asked == []
    monkeypatch.setenv(variable, "0")
    assert not is_offline()
    download(server.url("/weights.pth"), target)
    monkeypatch.setenv(variable, "1")
    assert download(server.url("/weights.pth"), target) == target


def test_a_program_can_go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSEBENCH_OFFLINE", "")  # so that it is restored
    assert not is_offline()
    go_offline()
    assert is_offline()
    assert offline_reason() == "--offline"
    monkeypatch.setenv("POSEBENCH_OFFLINE", "1")
    assert offline_reason() == "POSEBENCH_OFFLINE"


def test_offline_needs_no_torch(target: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from posebench.downloads import download_state_dict\n"
        "from posebench.errors import ModelError\n"
        "try: download_state_dict('https://weights.invalid/x-0123abcd.pth')\n"
        "except ModelError as error: print(error)"
    )
    environment = {**os.environ, "POSEBENCH_OFFLINE": "1", "TORCH_HOME": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert f"put it into {target}/hub/checkpoints." in done.stdout


def test_eight_processes_fetch_once(server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", CONTENT, chunk_s=0.05)
    code = (
        "import os, sys; from pathlib import Path; from posebench.downloads import download\n"
        "children = []\n"
        "for _ in range(8):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        data = download(sys.argv[1], Path(sys.argv[2])).read_bytes()\n"
        "        os._exit(0 if len(data) == 300_000 else 1)\n"
        "    children.append(child)\n"
        "sys.exit(sum(os.waitpid(child, 0)[1] for child in children) != 0)"
    )
    url = server.url("/weights.pth")
    subprocess.run([sys.executable, "-c", code, url, str(target)], check=True, timeout=20)
    assert len(server.asked) == 1
    assert left(target) == ["weights.pth"]


def test_who_waits_goes_on_where_the_other_gave_up(server: FileServer, target: Path) -> None:
    # The first is refused after a while; one of the others then fetches the file.
    server.serve("/weights.pth", CONTENT, statuses=[403], silent_s=0.1)
    waiting: list[tuple[int, int | None]] = []

    def fetch(_: int) -> bool:
        try:
            url = server.url("/weights.pth")
            download(url, target, size=300_000, progress=lambda *done: waiting.append(done))
        except ModelError:
            return False
        return target.read_bytes() == CONTENT

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(fetch, range(3))) == [False, True, True]
    assert len(server.asked) == 2
    assert (0, 300_000) in waiting
    assert left(target) == ["weights.pth"]


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_each_process_has_its_own_part(
    error: int, server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(error, "no locks")

    monkeypatch.setattr("fcntl.flock", no_locks)
    served = server.serve("/weights.pth", CONTENT, cuts=[HALF])
    with pytest.raises(ModelError, match="cut too often"):
        download(server.url("/weights.pth"), target, patience=Patience(tries=1))
    assert left(target) == []
    served.cuts.append(HALF)
    download(server.url("/weights.pth"), target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert left(target) == ["weights.pth"]


def test_a_full_disk_is_foreseen(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**6, 10**6, 1000))
    server.serve("/weights.pth", CONTENT)
    with pytest.raises(ModelError, match=r"has no room for weights.pth.*choose another folder"):
        download(server.url("/weights.pth"), target, patience=QUICK)
    assert left(target) == []


def test_a_disk_that_fills_up_keeps_what_has_arrived(server: FileServer, target: Path) -> None:
    server.serve("/weights.pth", CONTENT)
    code = (
        "import resource, sys; from pathlib import Path; from posebench.downloads import download\n"
        "from posebench.errors import ModelError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        "try: download(sys.argv[1], Path(sys.argv[2]), size=300_000)\n"
        "except ModelError as error: print(error)"
    )
    command = [sys.executable, "-c", code, server.url("/weights.pth"), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"The disk of {target.parent} has no room for weights.pth" in done.stdout
    assert part_of(target).stat().st_size == 100_000
    download(server.url("/weights.pth"), target, sha256=SHA256)
    assert server.ranges() == [None, "bytes=100000-"]


def test_a_folder_that_cannot_be_written_is_named(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"cannot be written \(.*choose another folder"):
        download(server.url("/weights.pth"), tmp_path / "file/weights.pth")

    def forbidden(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub/checkpoints"
    monkeypatch.setattr("os.open", forbidden)  # root may write anywhere
    with pytest.raises(ModelError, match=r"cannot be written \(Permission denied\).*TORCH_HOME"):
        download(server.url("/weights.pth"), cache / "weights.pth")
    assert server.asked == []


def test_an_interrupted_download_can_go_on(
    server: FileServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve("/weights.pth", CONTENT)

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(server.url("/weights.pth"), target, progress=stop)
    assert 0 < part_of(target).stat().st_size < len(CONTENT)
    download(server.url("/weights.pth"), target, sha256=SHA256)


def test_a_reporter_shows_what_nobody_else_does(server: FileServer, target: Path) -> None:
    shown: list[object] = []

    @contextmanager
    def reporter(name: str) -> Iterator[Progress]:
        shown.append(name)
        yield lambda done, total: shown.append(done)
        shown.append("end")

    server.serve("/weights.pth", CONTENT)
    with shown_by(reporter):
        download(server.url("/weights.pth"), target)
    assert shown[0] == "weights.pth" and shown[-2:] == [len(CONTENT), "end"]
    download(server.url("/weights.pth"), target.with_name("b.pth"))
    assert "b.pth" not in shown


def test_a_part_takes_what_the_disk_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr("os.write", lambda handle, data: write(handle, data[:3]))
    path = tmp_path / "x.part"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    part = Part(path, handle)
    part.append(b"0123456789", 5.0)
    assert (part.size, part.modified_s) == (10, 5.0)
    assert path.read_bytes() == b"0123456789"
    assert path.stat().st_mtime == 5.0
    os.close(handle)
