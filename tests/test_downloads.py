"""A download that fails is one sentence, and leaves sockets as they were."""

from __future__ import annotations

import hashlib
import socket
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from posebench.downloads import download_state_dict, hub_within_seconds, is_reachable
from posebench.errors import ModelError


def test_a_failed_download_says_where_the_file_may_be_put(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = []

    def unreachable(url: str, **_: Any) -> None:
        timeouts.append(socket.getdefaulttimeout())
        raise URLError("unreachable")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", unreachable)
    before = socket.getdefaulttimeout()
    with pytest.raises(ModelError, match=r"URLError.*put it into .*checkpoints"):
        download_state_dict("https://localhost/weights.pth")
    assert timeouts == [20.0]
    assert socket.getdefaulttimeout() == before


def test_a_download_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {"bias": torch.zeros(2)}
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda url, **_: weights)
    assert download_state_dict("https://localhost/weights.pth") is weights


def test_what_a_download_says_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With torch's own code, from a file in place of a server."""
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "cache"))
    torch.save({"bias": torch.ones(2)}, tmp_path / "weights.pth")
    digest = hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()[:8]
    source = (tmp_path / "weights.pth").rename(tmp_path / f"weights-{digest}.pth")
    found = download_state_dict(source.as_uri())
    assert found["bias"].tolist() == [1, 1]
    said = capsys.readouterr()
    assert said.out == ""
    assert "Downloading" in said.err and source.name in said.err
    download_state_dict(source.as_uri())  # from the cache
    assert capsys.readouterr().err == ""


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_a_server_is_reachable_if_it_accepts_connections(
    no_proxies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_reachable(f"https://127.0.0.1:{port}/x")
        # A proxy is what has to be reached.
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{port}")
        assert is_reachable("https://weights.invalid")
    assert not is_reachable("https://weights.invalid")


def test_a_network_that_swallows_everything_takes_seconds(
    no_proxies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posebench.downloads._TRY_S", 0.1)

    def swallow(*_: Any) -> None:
        time.sleep(1)
        raise TimeoutError

    monkeypatch.setattr("socket.create_connection", swallow)
    start = time.monotonic()
    assert not is_reachable("https://weights.invalid")
    assert time.monotonic() - start < 1.5


def test_a_flaky_network_gets_a_second_try(
    no_proxies: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    monkeypatch.setattr("posebench.downloads._connects", lambda host, port: next(answers))
    assert is_reachable("https://weights.invalid")


@pytest.mark.parametrize("network", [True, False])
def test_the_hub_is_offline_only_without_a_network(
    network: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("posebench.downloads.is_reachable", lambda url: network)
    with hub_within_seconds():
        assert constants.HF_HUB_OFFLINE is not network
    assert constants.HF_HUB_OFFLINE is False


def test_pretrained_weights_are_missed_within_seconds(
    no_proxies: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the libraries' own code, and a hub that does not exist."""
    from huggingface_hub import constants

    from posebench.layers.backbones.pretrained import timm_backbone

    monkeypatch.setattr(constants, "ENDPOINT", "https://weights.invalid")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(ModelError, match="could not be downloaded"):
        timm_backbone("resnet10t", pretrained=True)
    assert time.monotonic() - start < 30  # with all retries it takes 46 s beyond the import
