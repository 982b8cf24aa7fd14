"""Downloaded state dicts, from torch.hub's cache."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
import torch

from posebench.downloads import cache_folder, download_cached, download_state_dict, hash_in_name
from posebench.errors import ModelError
from tests.downloads.server import FileServer


def saved(**tensors: torch.Tensor) -> bytes:
    file = io.BytesIO()
    torch.save(tensors, file)
    return file.getvalue()


def digits(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("keypointrcnn_resnet50_fpn_coco-fc266e95.pth", "fc266e95"),
        ("higher_hrnet32_coco_512x512-8ae85183_20200713.pth", "8ae85183"),
        ("cid_hrnet-w32_8xb20-140e_coco-512x512_42b7e6e6-20230207.pth", "42b7e6e6"),
        ("cid_hrnet-w32_8xb20-140e_coco-512x512_20230207-42b7e6e6.pth", "42b7e6e6"),
        ("x_12345678-20230207.pth", "12345678"),
        ("of_a_day-20230207.pth", ""),
        ("pose_higher_hrnet_w32_512.pth", ""),
        ("x-short123.pth", ""),
    ],
)
def test_a_name_carries_digits_of_its_hash_and_dates_are_none(name: str, digits: str) -> None:
    assert hash_in_name(name) == digits


def test_the_cache_is_torch_hubs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache == Path(torch.hub.get_dir()) / "checkpoints"
    monkeypatch.setattr("sys.modules", {})  # torch is not imported
    assert cache_folder() == cache
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/torch/hub/checkpoints")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/torch/hub/checkpoints"


def test_a_state_dict_is_fetched_once(
    cache: Path, server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    content = saved(bias=torch.ones(2))
    name = f"weights-{digits(content)}.pth"
    server.serve(f"/zoo/{name}", content)
    for _ in range(2):
        assert download_state_dict(server.url(f"/zoo/{name}"))["bias"].tolist() == [1, 1]
    assert len(server.asked) == 1
    assert [path.name for path in cache.iterdir()] == [name]
    assert capsys.readouterr() == ("", "")  # stdout belongs to a command's results


@pytest.mark.parametrize("name", ["weights-01234567.pth", "weights-01234567_20200713.pth"])
def test_the_digits_of_a_name_are_checked(name: str, cache: Path, server: FileServer) -> None:
    server.serve(f"/{name}", saved(bias=torch.ones(2)))
    with pytest.raises(ModelError, match="SHA-256 begins with"):
        download_state_dict(server.url(f"/{name}"))
    assert list(cache.iterdir()) == []


def test_a_hash_of_the_callers_comes_before_the_names(server: FileServer) -> None:
    content = saved(bias=torch.ones(2))
    server.serve("/weights-01234567.pth", content)
    url = server.url("/weights-01234567.pth")
    assert download_cached(url, name="other.pth", sha256=digits(content)).name == "other.pth"


def test_a_file_of_torch_hub_is_taken(cache: Path, server: FileServer, tmp_path: Path) -> None:
    """As torch's own code has left it."""
    content = saved(bias=torch.ones(2))
    source = tmp_path / f"weights-{digits(content)}.pth"
    source.write_bytes(content)
    torch.hub.load_state_dict_from_url(source.as_uri(), progress=False, check_hash=True)
    url = server.url(f"/{source.name}")
    assert download_state_dict(url)["bias"].tolist() == [1, 1]
    assert server.asked == []


def test_a_file_that_was_put_there_by_hand_is_taken_offline(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSEBENCH_OFFLINE", "1")
    url = "https://weights.invalid/weights.pth"
    with pytest.raises(ModelError, match=f"download {url} .* put it into {cache}"):
        download_state_dict(url)
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "weights.pth").write_bytes(saved(bias=torch.ones(2)))
    assert download_state_dict(url)["bias"].tolist() == [1, 1]


def test_a_damaged_file_is_named(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "weights.pth").write_bytes(saved(bias=torch.ones(2))[:100])
    with pytest.raises(ModelError, match=r"weights\.pth is damaged or no state dict: delete it"):
        download_state_dict("https://weights.invalid/weights.pth")
