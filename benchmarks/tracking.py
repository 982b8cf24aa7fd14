"""IDF1, MOTA and identity switches of the tracker on moving crowds, against greedy matching.

    python benchmarks/tracking.py              # the table of docs/predict.md, without a network
    python benchmarks/tracking.py --model cid_tiny --films 4

trackeval computes the figures. Its package asks for opencv-python, which would replace the
opencv-python-headless of posebench, so it is no extra: `pip install --no-deps trackeval tabulate`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from posebench.layers.oks import oks
from posebench.skeleton import COCO
from posebench.synthetic.body import JOINTS
from posebench.synthetic.motion import MovingCrowd, MovingScene
from posebench.tracking import Tracker

Floats = NDArray[np.float64]
_ROWS = [JOINTS.index(name) for name in COCO.keypoints]


@dataclass(frozen=True)
class Observed:
    """A frame: the people who are there, and those who were detected."""

    time_s: float
    people: NDArray[np.int64]  # (N,)
    truth: Floats  # (N, K, 2)
    visibility: NDArray[np.int64]  # (N, K)
    area: Floats  # (N,)
    keypoints: Floats  # (M, K, 2) detected
    keypoint_scores: Floats  # (M, K)


class Numbering(Protocol):
    """A tracker: numbers for the people of successive frames."""

    def update(self, keypoints: Floats, keypoint_scores: Floats, time_s: float) -> list[int]: ...


class GreedyMatcher:
    """The baseline: the nearest pair of people first, by the distance of their centres."""

    def __init__(self, reach: float = 0.25, memory_s: float = 0.2) -> None:
        self.reach = reach  # how far a person may move, in its own sides
        self.memory_s = memory_s  # after which a person who was not seen is forgotten
        self._known: dict[int, tuple[Floats, float]] = {}  # number -> centre, when it was seen
        self._next = 1

    def update(self, keypoints: Floats, keypoint_scores: Floats, time_s: float) -> list[int]:
        weights = keypoint_scores[..., None]
        centres = (keypoints * weights).sum(1) / weights.sum(1)
        sides = np.ptp(keypoints, axis=1).max(-1)
        distances = sorted(
            (float(np.linalg.norm(centre - known)) / side, number, new)
            for new, (centre, side) in enumerate(zip(centres, sides, strict=True))
            for number, (known, _) in self._known.items()
        )
        numbers = [0] * len(keypoints)
        for distance, number, new in distances:
            if distance <= self.reach and number not in numbers and not numbers[new]:
                numbers[new] = number
        for new, number in enumerate(numbers):
            if not number:
                numbers[new], self._next = self._next, self._next + 1
            self._known[numbers[new]] = centres[new], time_s
        self._known = {n: k for n, k in self._known.items() if time_s - k[1] <= self.memory_s}
        return numbers


def simulated(seed: int, *, frames: int, fps: float, people: int = 8) -> Iterator[Observed]:
    """Yield the frames of a film, with people detected as a good network would.

    Hardly visible people are missed, others now and then; hidden keypoints are worse and score
    less; sometimes somebody is seen where nobody is.
    """
    crowd = MovingCrowd(people, seed=seed)
    rng = np.random.default_rng([seed, 1])
    for number in range(frames):
        scene = crowd.frame(number / fps, pixels=False)
        keypoints, scores = _detected(scene, rng)
        yield _observed(number / fps, scene, keypoints, scores)


def _detected(scene: MovingScene, rng: np.random.Generator) -> tuple[Floats, Floats]:
    joints, visibility = scene.scene.joints[:, _ROWS], scene.scene.visibility[:, _ROWS]
    found = (scene.seen > 0.3) & (rng.random(len(joints)) > 0.08)
    joints, visibility = joints[found], visibility[found]
    sides = np.ptp(joints, axis=1).max(-1)[:, None, None]
    seen = (visibility == 2)[..., None]
    keypoints = joints + rng.normal(size=joints.shape) * sides * np.where(seen, 0.012, 0.05)
    scores = np.array([0.05, 0.35, 0.9])[visibility]
    if len(keypoints) and rng.random() < 0.1:
        ghost = keypoints[rng.integers(len(keypoints))] + rng.normal(size=2) * 60
        keypoints, scores = (
            np.concatenate([keypoints, ghost[None]]),
            np.vstack([scores, scores[:1]]),
        )
    order = rng.permutation(len(keypoints))
    return keypoints[order], scores[order]


def predicted(model: Any, seed: int, *, frames: int, fps: float) -> Iterator[Observed]:
    """Yield the frames of a film, with the people that a model finds in its pictures."""
    crowd = MovingCrowd(6, seed=seed)
    for number in range(frames):
        scene = crowd.frame(number / fps)
        people = model.predict(scene.scene.image)
        people = people[people.scores >= model.draw_score]
        yield _observed(
            number / fps, scene, people.keypoints.double().numpy(),
            people.keypoint_scores.double().numpy(),
        )  # fmt: skip


def _observed(
    time_s: float, scene: MovingScene, keypoints: Floats, keypoint_scores: Floats
) -> Observed:
    own = scene.scene
    return Observed(
        time_s, scene.people, own.joints[:, _ROWS], own.visibility[:, _ROWS], own.area, keypoints,
        keypoint_scores,
    )  # fmt: skip


def score(
    films: Sequence[Sequence[Observed]], tracker: Callable[[], Numbering]
) -> dict[str, float]:
    """Return IDF1 and MOTA as fractions, and the number of identity switches, over all films.

    A person counts as detected at an OKS of at least 0.5.
    """
    import trackeval

    metrics = (
        trackeval.metrics.CLEAR({"PRINT_CONFIG": False}),
        trackeval.metrics.Identity({"PRINT_CONFIG": False}),
    )
    data = [_data(film, tracker()) for film in films]
    total = {}
    for metric in metrics:
        each = {str(index): metric.eval_sequence(one) for index, one in enumerate(data)}
        total.update(metric.combine_sequences(each))
    return {name: float(total[name]) for name in ("IDF1", "MOTA", "IDSW")}


def _data(film: Sequence[Observed], tracker: Numbering) -> dict[str, Any]:
    """Return a film as trackeval takes it; ids are numbered from 0 without gaps."""
    numbers = [
        np.array(tracker.update(f.keypoints, f.keypoint_scores, f.time_s), int) for f in film
    ]
    own = _dense([frame.people for frame in film])
    theirs = _dense(numbers)
    return {
        "num_timesteps": len(film),
        "num_gt_ids": 1 + max((int(ids.max(initial=-1)) for ids in own), default=-1),
        "num_tracker_ids": 1 + max((int(ids.max(initial=-1)) for ids in theirs), default=-1),
        "num_gt_dets": sum(map(len, own)),
        "num_tracker_dets": sum(map(len, theirs)),
        "gt_ids": own,
        "tracker_ids": theirs,
        "similarity_scores": [_similarity(frame) for frame in film],
    }


def _dense(ids: Sequence[NDArray[Any]]) -> list[NDArray[np.int64]]:
    known = {
        number: place for place, number in enumerate(sorted(set(np.concatenate(ids).tolist())))
    }
    return [np.array([known[number] for number in frame.tolist()], np.int64) for frame in ids]


def _similarity(frame: Observed) -> Floats:
    """Return the (N, M) OKS of people and detections."""
    values = oks(
        *(torch.from_numpy(np.ascontiguousarray(array)) for array in (
            frame.keypoints, frame.truth, frame.visibility, frame.area, np.array(COCO.sigmas),
        ))
    )  # fmt: skip
    return np.asarray(values.T.numpy(), np.float64)


TRACKERS: dict[str, Callable[[], Numbering]] = {
    "tracker": lambda: Tracker(COCO),
    "greedy, reach 0.25, memory 0.2 s": lambda: GreedyMatcher(0.25, 0.2),
    "greedy, reach 0.5, memory 0.2 s": lambda: GreedyMatcher(0.5, 0.2),
    "greedy, reach 0.5, memory 1.5 s": lambda: GreedyMatcher(0.5, 1.5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a model whose detections are tracked, such as cid_tiny")
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=12)
    options = parser.parse_args()
    model = None
    if options.model:
        import posebench

        model = posebench.load_model(options.model)
    for fps in (25.0, 10.0, 5.0):
        frames = round(options.seconds * fps)
        films = [
            list(
                predicted(model, seed, frames=frames, fps=fps)
                if model
                else simulated(seed, frames=frames, fps=fps)
            )
            for seed in range(options.films)
        ]
        for name, tracker in TRACKERS.items():
            found = score(films, tracker)
            print(
                f"| {fps:g} | {name} | {100 * found['IDF1']:.1f} | {100 * found['MOTA']:.1f} | "
                f"{found['IDSW']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
