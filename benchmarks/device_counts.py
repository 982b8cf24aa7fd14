"""What each method's steps launch on a GPU, and how often Python waits for it: docs/gpu.md.

Counted on the tests' device, which needs no GPU: `python -m benchmarks.device_counts [--where]`.
"""

from __future__ import annotations

import sys

from tests.device.cases import NAMES, steps
from tests.device.gpu import pretended_gpu


def main() -> None:
    print(f"{'recipe':20} {'step':10} {'launches':>8} {'waits':>6}")
    for name in NAMES:
        with pretended_gpu() as gpu:
            for step, call in steps(name):
                gpu.clear()
                call()
                launches, waits = gpu.launches.total(), gpu.waits.total()
                print(f"{name:20} {step:10} {launches:8} {waits:6}", flush=True)
                for (kind, place), count in gpu.waits.most_common():
                    if "--where" in sys.argv:
                        print(f"{count:12} {kind}, {place}")


if __name__ == "__main__":
    main()
