"""The rules of annotation files: what is refused, what is derived, what is worth knowing.

The reader and `posebench data doctor` go through the same list. The reader stops at the first rule
that refuses, and says once what was derived; the doctor counts everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from posebench.errors import DataError

Severity = Literal["wrong", "derived", "note"]

_EXAMPLES = 5


@dataclass(frozen=True)
class Rule:
    """A rule by its name in the doctor's table.

    `said` is the sentence that the reader prints where it derives something; `{count}` and
    `{examples}` stand for how many and which.
    """

    name: str
    severity: Severity
    said: str = ""


def _wrong(name: str) -> Rule:
    return Rule(name, "wrong")


def _derived(name: str, said: str) -> Rule:
    return Rule(name, "derived", said)


def _note(name: str) -> Rule:
    return Rule(name, "note")


# Refused.
NO_OBJECT = _wrong("no object")
MISSING = _wrong("missing field")
ID_UNFIT = _wrong("id unfit")
DUPLICATE_IMAGE = _wrong("duplicate image id")
IMAGE_TWICE = _wrong("image listed twice")
SIZE_UNFIT = _wrong("image size unfit")
UNKNOWN_IMAGE = _wrong("unknown image")
UNKNOWN_CATEGORY = _wrong("unknown category")
KEYPOINTS_UNFIT = _wrong("keypoints unfit")
VISIBILITY_UNFIT = _wrong("visibility unfit")
RELATIVE = _wrong("coordinates relative to the image")
BOX_UNFIT = _wrong("box unfit")
AREA_UNFIT = _wrong("area unfit")
COUNT_UNFIT = _wrong("count unfit")
NO_PEOPLE = _wrong("all keypoints of an image in one annotation")

# Derived, and said once.
OTHER_CATEGORIES = _derived(
    "other category", "{count} annotations of other categories are left out ({examples})."
)
BY_NAME = _derived(
    "keypoints in another order", "The keypoints are in another order and are taken by name."
)
TEXT_IDS = _derived(
    "image id is text here, a number there",
    "The image ids of {count} annotations are texts and those of the images numbers, or the other "
    "way round ({examples}): equal digits are taken for equal.",
)
NO_BOX = _derived(
    "box derived",
    "{count} labelled annotations have no box, or an empty one: the hull of their keypoints is "
    "taken, grown on each side by a tenth of its longer side.",
)
NO_AREA = _derived(
    "area derived",
    "{count} labelled annotations have no area, or none above 0: 0.53 of their box is taken. AP of "
    "other areas must not be compared with it.",
)
CONFIDENCES = _derived(
    "visibility is a confidence",
    "The visibility of {count} keypoints is a fraction: each above 0 is taken as labelled.",
)
OUTLINE_UNFIT = _derived(
    "outline cannot be drawn",
    "{count} outlines cannot be drawn ({examples}): they mask nothing in training.",
)
BACKSLASH = _derived(
    "backslash in a file name",
    "{count} file names are written with backslashes ({examples}): they are read as folders.",
)

# Worth knowing.
NO_SIZE = _note("image without a size: read from its file")
RECOUNTED = _note("num_keypoints differs from the keypoints")
NOBODY = _note("no keypoints given")
NESTED = _note("keypoints as nested lists")
NO_PLACE = _note("unlabelled keypoint without numbers")
AT_ORIGIN = _note("labelled keypoint at (0, 0)")
OUTSIDE = _note("keypoint outside its image")
NEVER_LABELLED = _note("keypoint never labelled")
DUPLICATE_ANNOTATION = _note("duplicate annotation id")
SAME_IMAGE_TWICE = _note("same image entry twice")
WHOLE_FLOATS = _note("whole number written as a fraction")
ZERO_BASED = _note("skeleton counts from 0")
LIMBS_UNFIT = _note("skeleton with unknown keypoints")
UNKNOWN_NAME = _note("keypoint under another name")


@dataclass(frozen=True)
class Owner:
    """An annotation in messages, and in short in the doctor's table."""

    name: str  # its id
    image: str  # its image's id and file name
    path: Path

    @property
    def short(self) -> str:
        return f"annotation {self.name}"

    def __str__(self) -> str:
        return f"annotation {self.name} (image {self.image}) in {self.path}"


@dataclass
class Finding:
    """How often a rule applied, with a few examples."""

    rule: Rule
    count: int = 0
    examples: list[str] = field(default_factory=list)
    sentence: str = ""  # of the first, for a rule that refuses

    def said(self) -> str:
        """Return the sentence that the reader prints."""
        return self.rule.said.format(count=self.count, examples=", ".join(self.examples[:3]))


class Report:
    """Collects the findings of a file."""

    def __init__(self) -> None:
        self._findings: dict[str, Finding] = {}

    @property
    def findings(self) -> list[Finding]:
        return list(self._findings.values())

    def note(self, rule: Rule, example: object, times: int = 1) -> None:
        """Count a rule that does not refuse."""
        if times:
            self._of(rule, example, times)

    def refuse(self, rule: Rule, example: object, sentence: str | Callable[[], str]) -> None:
        """Count a rule that refuses; the reader's error is the sentence of the first."""
        finding = self._of(rule, example, 1)
        if not finding.sentence:
            finding.sentence = sentence if isinstance(sentence, str) else sentence()

    def _of(self, rule: Rule, example: object, times: int) -> Finding:
        finding = self._findings.setdefault(rule.name, Finding(rule))
        finding.count += times
        text = example.short if isinstance(example, Owner) else str(example)
        if text and len(finding.examples) < _EXAMPLES and text not in finding.examples:
            finding.examples.append(text)
        return finding

    def raise_refused(self) -> None:
        """Raise the first refusal as a DataError; others of its kind are counted in it."""
        for finding in self._findings.values():
            if finding.rule.severity == "wrong":
                more = finding.count - 1
                counted = f" ({more} more like it: posebench data doctor lists them.)"
                raise DataError(finding.sentence + (counted if more else ""))
