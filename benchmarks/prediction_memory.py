"""Peak memory of `posebench predict` on a film of one and of five minutes.

    python benchmarks/prediction_memory.py [--model cid_tiny] [--size 96]

The films are synthetic crowds at 25 frames a second; each is predicted in a process of its own,
whose peak resident memory the system reports. Without --model, a function finds six people who walk
about: what a network needs for one frame is not what is measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from posebench.synthetic.motion import MovingCrowd
from posebench.viz import write_video

_FPS = 25
_PLUGIN = """
import numpy as np
from posebench import Predictor

FRAMES = iter(range(10**9))

def walk(images):
    shapes = np.random.default_rng(0).uniform(0, 40, (6, 17, 2)) + 60 * np.arange(6)[:, None, None]
    return [(shapes + 20 * np.sin(next(FRAMES) / 25), np.full(6, 0.9)) for _ in images]

PREDICTORS = (Predictor(walk, name="walkers"),)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a model, such as cid_tiny (default: a function)")
    parser.add_argument("--size", type=int, default=96)
    options = parser.parse_args()
    crowd = MovingCrowd(people=4, size=options.size)
    # Ten seconds, repeated: drawing is not what is measured.
    frames = [crowd.frame(number / _FPS).scene.image for number in range(10 * _FPS)]
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (1, 5):
            film = Path(folder, f"{minutes}.mp4")
            with write_video(film, _FPS) as file:
                for number in range(minutes * 60 * _FPS):
                    file.write(frames[number % len(frames)])
            peak = _peak_mib(options.model, film)
            print(f"| {minutes} min, {minutes * 60 * _FPS} frames | {peak:.0f} MiB |", flush=True)


def _peak_mib(model: str | None, film: Path) -> float:
    plugin = film.with_name("walkers.py")
    plugin.write_text(_PLUGIN)
    words = [sys.executable, "-m", "posebench", "--plugin", str(plugin)]
    words += ["predict", model or "walkers", str(film)]
    words += ["--out", str(film.with_suffix(".jsonl")), "--track", "--device", "cpu"]
    child = os.spawnv(os.P_NOWAIT, sys.executable, words)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"predict failed with {status}")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
