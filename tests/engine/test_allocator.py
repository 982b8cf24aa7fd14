"""Freed memory stays with the process."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

# Prints how many pages a second pass like the first waits for.
PASSES = """
import resource, sys
import numpy as np
from posebench.engine.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    maps = [np.ones(2**18) for _ in range(50)]  # 2 MB each
    del maps
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc"
)
def test_a_second_pass_waits_for_no_page() -> None:
    def pages(choice: str, **variables: str) -> int:
        command = [sys.executable, "-c", PASSES, choice]
        others = {n: v for n, v in os.environ.items() if not n.startswith(("MALLOC", "GLIBC"))}
        environment = others | variables
        return int(subprocess.check_output(command, env=environment, text=True))

    usual = pages("leave")
    assert usual > 40  # also with pages of 2 MB
    assert pages("keep") < usual / 10
    assert pages("keep", MALLOC_TRIM_THRESHOLD_="65536") > usual / 2  # the user has chosen
