"""CPU time of commands that compute nothing, against `import torch` on the same machine.

Usage errors and lists should need a fraction of it, and the engine little more.

    python benchmarks/startup.py [PYTHON ...]

Several interpreters, of environments with other versions of posebench, are measured in turns.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile

ROUNDS = 7
TORCH = "import torch"
COMMANDS = {
    TORCH: ["-c", TORCH],
    "engine": ["-c", "from posebench.engine import evaluate, train"],
    "--help": ["-m", "posebench", "--help"],
    "data list": ["-m", "posebench", "data", "list"],
    "tables": ["-m", "posebench", "tables"],
    "train --precision fp8": [
        "-m", "posebench", "train", "cid", "--dataset", "coco", "--precision", "fp8",
    ],
    "train cidd": ["-m", "posebench", "train", "cidd", "--dataset", "coco"],
    "eval nowhere": ["-m", "posebench", "eval", "nowhere"],
}  # fmt: skip


def cpu_seconds(command: list[str], folder: str) -> float:
    """Return the user and system time of a process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=False, cwd=folder, env=os.environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print the least CPU time of each command, and its ratio to that of importing torch."""
    interpreters = sys.argv[1:] or [sys.executable]
    seconds = {(python, name): float("inf") for python in interpreters for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for python, name in seconds:
                once = cpu_seconds([python, *COMMANDS[name]], folder)
                seconds[python, name] = min(seconds[python, name], once)
    for python in interpreters:
        print(python)
        for name in COMMANDS:
            ratio = seconds[python, name] / seconds[python, TORCH]
            print(f"  {name:24} {seconds[python, name]:6.2f} s  {ratio:5.2f}")


if __name__ == "__main__":
    main()
