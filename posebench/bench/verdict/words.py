"""Words that sentences, tables and charts share: of errors, groups and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from posebench.bench.statistics import Interval

FEW = 30  # people, below whom a group is not spoken of and is drawn faintly
SMALL = 0.0005  # fractions of AP below this are printed as 0.0, and are not spoken of


@dataclass(frozen=True)
class ErrorName:
    """How a kind of error is called."""

    label: str  # in tables and charts
    loses: str  # "it loses most by ..."
    fewer: str  # what the better of two models has
    means: str  # what it is


ERRORS: dict[str, ErrorName] = {
    "miss": ErrorName(
        "misses", "misplaced keypoints", "fewer misplaced keypoints",
        "a keypoint near no annotated one (similarity below 0.5)",
    ),
    "swap": ErrorName(
        "swaps", "swaps", "fewer swaps",
        "a keypoint on another person's",
    ),
    "inversion": ErrorName(
        "inversions", "inversions of left and right", "fewer inversions of left and right",
        "a keypoint on the same person's of the other side",
    ),
    "jitter": ErrorName(
        "jitter", "jitter", "less jitter",
        "a keypoint near its place, but not near enough (similarity from 0.5 to 0.85)",
    ),
    "score": ErrorName(
        "scores", "scores that rank poor poses above good ones", "better ranking by score",
        "poses whose scores are not in the order of their OKS",
    ),
    "background": ErrorName(
        "false positives", "detections where nobody is", "fewer false positives",
        "a detection that matches nobody",
    ),
    "missed": ErrorName(
        "missed people", "missed people", "fewer missed people",
        "a person whom no detection matches",
    ),
    "duplicate": ErrorName(
        "duplicates", "duplicates", "fewer duplicates",
        "a further detection of a person who is found already",
    ),
    "localisation": ErrorName(
        "poor poses", "poor poses", "more poses exact enough for strict OKS thresholds",
        "a detection of a person with an OKS above 0.1, but too low to count",
    ),
}  # fmt: skip


def group_text(by: str, group: str) -> str:
    """Return a group of people or images in words: "in images with 5–8 people"."""
    if by == "keypoint":
        return f"at the {group.replace('_', ' ')}"
    if by == "size":
        return f"for people of {group}"
    if by == "crowding":
        counted = "people" in group or "person" in group
        return f"in images with {group}" if counted else f"in images of crowdIndex {group}"
    if by == "overlap":
        return f"for people whom {'nobody overlaps' if group == '0' else f'{group} others overlap'}"
    if by == "labelled":
        return f"for people with {group} labelled keypoints"
    if by == "truncation":
        return f"for people {group if 'border' in group else f'{group} the image'}"
    return f"for {by} {group}"


def points(value: float) -> str:
    """Return a fraction of AP in points."""
    return f"{100 * value:.1f}".replace("-0.0", "0.0").replace("-", "−")


def between(value: Interval) -> str:
    """Return an interval in points: "95 %: 0.3 to 1.3"."""
    return f"95 %: {points(value.low)} to {points(value.high)}"


def ap_text(value: Interval) -> str:
    """Return an AP with its interval, which may be unknown."""
    interval = f" ({between(value)})" if math.isfinite(value.low) else ""
    return f"{points(value.value)} AP{interval}"


def p_text(p: float) -> str:
    """Return a p-value as papers print it: "p .013", "p < .001"."""
    if p < 0.001:
        return "p < .001"
    return f"p {p:.3f}".replace(" 0.", " .")


def counted(number: int, what: str) -> str:
    """Return a number of things: "1 image", "5,000 images"."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def listed(words: Sequence[str]) -> str:
    """Return words as in a sentence: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
