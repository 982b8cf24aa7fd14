"""The driver of the test device: a few lines of C++, built when they are first needed."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch

_SOURCE = Path(__file__).with_name("guard.cpp")


@cache
def driver() -> ctypes.CDLL:
    """Return the library whose `exchange` answers PyTorch in place of a CUDA driver, and back.

    Tests are skipped where there is no compiler, or no headers of PyTorch.
    """
    torch_folder = Path(torch.__file__).parent
    if not (torch_folder / "include" / "ATen").is_dir():
        pytest.skip("this PyTorch has no C++ headers, from which the test device is built")
    key = hashlib.sha256(_SOURCE.read_bytes() + torch.__version__.encode()).hexdigest()[:16]
    built = Path(tempfile.gettempdir()) / f"posebench-test-device-{os.getuid()}-{key}.so"
    if not built.exists():
        compiler = shutil.which("g++")
        if compiler is None:
            pytest.skip("the test device needs g++, which is not installed")
        own = built.with_suffix(f".{os.getpid()}")  # several processes may build it at once
        libraries = torch_folder / "lib"
        command = [
            compiler, "-O1", "-std=c++20", "-shared", "-fPIC", f"-I{torch_folder / 'include'}",
            str(_SOURCE), "-o", str(own), f"-L{libraries}", "-lc10", "-ltorch_cpu",
        ]  # fmt: skip
        subprocess.run(command, check=True)
        own.rename(built)
    return ctypes.CDLL(str(built))
