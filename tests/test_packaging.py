"""What is built and what is pinned: the wheel's bytes and files, the lock files, the citation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the wheel of a source tree and return its file."""
    environment = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=source, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_wheel_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    copy = tmp_path / "a copy"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "posebench", copy / "posebench")
    for number, file in enumerate(sorted(copy.rglob("*"))):
        os.utime(file, (1e9 + number, 1e9 + number))
        file.chmod(file.stat().st_mode & 0o700)  # as another umask would leave it

    here, there = build_wheel(ROOT, tmp_path / "1"), build_wheel(copy, tmp_path / "2")

    assert here.read_bytes() == there.read_bytes()
    # Everything that the package reads comes along.
    packed = set(zipfile.ZipFile(here).namelist())
    files = [
        file
        for file in (ROOT / "posebench").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]
    assert {file.relative_to(ROOT).as_posix() for file in files} <= packed
    assert "posebench/py.typed" in packed


RUNTIMES = ("parquet", "onnx", "openvino", "int8")


@pytest.mark.parametrize(
    ("suffix", "extras"), [("", ()), ("-dev", ("dev",)), ("-runtimes", RUNTIMES)]
)
def test_lock_file_pins_what_is_required(suffix: str, extras: tuple[str, ...]) -> None:
    name = f"linux-py311{suffix}.txt"
    text = (ROOT / "requirements" / name).read_text()
    blocks = re.findall(r"^(\S+)==(\S+).*\n((?: +\S.*\n?)*)", text, re.M)
    pins = {canonicalize_name(package): version for package, version, _ in blocks}

    optional = PROJECT["optional-dependencies"]
    wanted = PROJECT["dependencies"] + [one for extra in extras for one in optional[extra]]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), (
            requirement
        )
    assert all("--hash=sha256:" in hashes for _, _, hashes in blocks)
    assert "://" not in text and "--index" not in text and "--find-links" not in text


def test_citation_has_the_version_and_licence_of_the_package() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in citation
    assert f"\nlicense: {PROJECT['license']}\n" in citation
