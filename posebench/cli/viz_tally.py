"""What `posebench viz` says that it has drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posebench.cli.common import count_of, say

if TYPE_CHECKING:
    from posebench.engine import Predicting
    from posebench.viz import Drawing


@dataclass
class Tally:
    """Counts the people on pictures, and says at the end what was drawn, and why not more."""

    model: Predicting
    unit: str  # "image" or "frame"
    given: bool  # whether --min-score was
    pictures: int = 0
    with_people: int = 0
    people: int = 0
    best_left_out: float | None = None  # the best score on pictures without people
    min_score: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)  # a row for each image, for --json

    def add(self, drawing: Drawing) -> None:
        """Count a picture."""
        self.pictures += 1
        self.people += drawing.people
        self.with_people += drawing.people > 0
        self.min_score = drawing.min_score
        if not drawing.people and drawing.best_score is not None:
            self.best_left_out = max(self.best_left_out or 0.0, drawing.best_score)

    def add_image(self, path: Path, target: Path, drawing: Drawing) -> None:
        """Count the picture of a file, with a row for `--json`."""
        self.add(drawing)
        self.rows.append({
            "image": str(path),
            "picture": str(target),
            "recipe": self.model.name,
            "people": drawing.people,
            "best_score": drawing.best_score,
            "min_score": drawing.min_score,
        })  # fmt: skip

    def report(self) -> None:
        """Print one line on what was drawn, and another if there are pictures without people."""
        name = f"{self.model.name} ({self.model.source})"
        where = "" if self.pictures == 1 else f"{self.with_people} of "
        drew = f"{count_of(self.people)} on {where}{self._pictures(self.pictures)}"
        say(f"{name} drew {drew if self.people else 'nobody'}.")
        without = self.pictures - self.with_people
        if not without:
            return
        why = "the model found no people"
        if self.best_left_out is not None:
            default = "" if self.given else f", the default of {self.model.kind}"
            why = f"best score {self.best_left_out:.3g}, below --min-score {self.min_score:g}"
            why += default
        nobody = f"Nobody on {self._pictures(without)}" if self.people else "Nobody"
        say(f"{nobody}: {why}.")

    def _pictures(self, number: int) -> str:
        return f"{number} {self.unit}{'' if number == 1 else 's'}"
