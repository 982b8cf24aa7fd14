"""ImageNet weights: from the hub's cache, by hand, or downloaded; at once if they cannot be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from posebench.errors import ModelError
from posebench.layers.backbones.pretrained import timm_backbone
from tests.downloads.server import FileServer, file_server

PATH = "/timm/resnet10t.c3_in1k/resolve/main/model.safetensors"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A hub that has nothing yet, and empty caches."""
    for name in ("http_proxy", "HTTP_PROXY", "POSEBENCH_MIRROR", "POSEBENCH_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with file_server() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE",
            server.address + "/{repo_id}/resolve/{revision}/{filename}",
        )  # fmt: skip
        yield server


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as timm's hub has it, of a network with its classifier."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(timm.create_model("resnet10t").state_dict(), path)
    return path


def stem() -> torch.Tensor:
    torch.manual_seed(1)
    return timm_backbone("resnet10t", pretrained=True).state_dict()["conv1.0.weight"]


def expected(weights: Path) -> torch.Tensor:
    from safetensors.torch import load_file

    return load_file(weights)["conv1.0.weight"]


def test_imagenet_weights_are_downloaded_once(server: FileServer, weights: Path) -> None:
    server.serve(PATH, weights.read_bytes())
    for _ in range(2):
        assert stem().equal(expected(weights))
    assert [asked.path for asked in server.asked] == [PATH]


def test_offline_the_sentence_names_the_file_and_its_place(
    server: FileServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEBENCH_OFFLINE", "1")
    start = time.monotonic()
    with pytest.raises(ModelError) as raised:
        stem()
    assert time.monotonic() - start < 2
    cache = tmp_path / "torch/hub/checkpoints"
    assert f"download {server.url(PATH)} on another machine and put it into {cache} as " in str(
        raised.value
    )
    assert "resnet10t.c3_in1k.safetensors. Or add --no-pretrained" in str(raised.value)
    # As the sentence says:
    cache.mkdir(parents=True)
    (cache / "resnet10t.c3_in1k.safetensors").write_bytes(weights.read_bytes())
    assert stem().equal(expected(weights))
    assert server.asked == []


def test_without_a_network_nothing_is_retried_for_long(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEBENCH_MIRROR", "http://weights.invalid")
    start = time.monotonic()
    with pytest.raises(ModelError, match=r"ImageNet weights of resnet10t.*weights\.invalid"):
        stem()
    assert time.monotonic() - start < 10


def test_weights_in_the_hubs_cache_are_taken(
    server: FileServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEBENCH_OFFLINE", "1")
    repository = tmp_path / "hub/models--timm--resnet10t.c3_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(weights.read_bytes())
    assert stem().equal(expected(weights))


def test_a_file_of_something_else_is_named(server: FileServer, tmp_path: Path) -> None:
    cache = tmp_path / "torch/hub/checkpoints"
    cache.mkdir(parents=True)
    (cache / "resnet10t.c3_in1k.safetensors").write_bytes(b"?")
    with pytest.raises(ModelError, match=r"c3_in1k\.safetensors does not hold the ImageNet weig"):
        stem()


@pytest.mark.parametrize("name", ["resnet_tiny", "resnet10t_of_nobody", "vgg11_of_nobody"])
def test_backbones_without_imagenet_weights_say_so(name: str) -> None:
    with pytest.raises(ModelError, match=r"no ImageNet weights for .*: add --no-pretrained"):
        timm_backbone(name, pretrained=True)
