"""Parallel loops take PyTorch's number of threads, and leave it to what follows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A small grouping with missing keypoints, which a parallel loop searches.
REFINE = """
import numba, numpy as np, torch
from posebench.models.higher_hrnet.refinement import refine
torch.set_num_threads(1)
maps = np.random.default_rng(0).random((2, 16, 16), np.float32)
people = np.zeros((1, 2, 4), np.float32)
refine(people, np.zeros((1, 1), np.float32), maps, maps[:, None])
print(numba.get_num_threads(), torch.get_num_threads())
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="numba has one thread")
def test_a_parallel_loop_keeps_to_torchs_threads() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFINE], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.stdout.split() == ["1", "1"]


def test_every_file_with_parallel_loops_matches_the_threads() -> None:
    files = [
        path
        for path in (ROOT / "posebench").rglob("*.py")
        if re.search(r"njit\(.*parallel=True", path.read_text())
    ]
    assert files
    for path in files:
        assert "    match_torch_threads()\n" in path.read_text(), path
