"""A download that fails is one sentence, and leaves sockets as they were."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from posebench.downloads import download_state_dict
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
