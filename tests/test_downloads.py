"""A download that fails is one sentence, and leaves sockets as they were."""

from __future__ import annotations

import socket
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
