"""The report of `compare`: which model is better, by how much, why and where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from posebench.bench.analysis import KINDS
from posebench.bench.comparison import Comparison, ImageEffect
from posebench.bench.verdict import comparison_sentences
from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import Detections
from posebench.viz.result_report.analysis_page import filters
from posebench.viz.result_report.choosing import Pictures, Seen, card
from posebench.viz.result_report.comparison_parts import (
    differences_part,
    errors_part,
    groups_part,
    models_part,
)
from posebench.viz.result_report.gallery import Filter, gallery
from posebench.viz.result_report.sections import (
    definitions,
    facts_list,
    paragraph,
    report,
)

_IMAGES = 24  # in the gallery
_PANELS = 4  # models beside each other in it


def comparison_page(
    comparison: Comparison,
    truth: GroundTruth,
    detections: Mapping[str, Detections],
    *,
    pictures: Pictures,
    facts: Sequence[tuple[str, str]],
) -> str:
    """Return the report as one HTML page that needs nothing else.

    Args:
        comparison: what was compared.
        truth: the annotations.
        detections: those of each model by its name.
        pictures: gives an image of the ground truth by its index; None: it is not here.
        facts: names and values of how the comparison was made.
    """
    names = [model.name for model in comparison.models]
    sections = [
        ("models", "Models", models_part(comparison)),
        ("differences", "Differences", differences_part(comparison)),
        ("errors", "Why", errors_part(comparison)),
        ("groups", "Where", groups_part(comparison)),
        ("gallery", "The images that decide", _gallery(comparison, truth, detections, pictures)),
        (
            "made",
            "How this was made",
            paragraph(
                "Intervals and tests are over images: they hold for these very predictions on "
                "images like these, and say nothing about a training with another seed."
            )
            + facts_list(facts)
            + (definitions(KINDS) if comparison.errors else ""),
        ),
    ]
    compared = " and ".join(names) if len(names) == 2 else f"{len(names)} models"
    return report(f"{compared} compared", comparison_sentences(comparison), sections)


# ---------------------------------------------------------------------------------------- gallery


def _gallery(
    comparison: Comparison,
    truth: GroundTruth,
    detections: Mapping[str, Detections],
    pictures: Pictures,
) -> str:
    chosen = _deciding(comparison.images)
    if not chosen:
        return ""
    names = [model.name for model in comparison.models][:_PANELS]
    seen = [Seen(n, truth, detections[n], comparison.analyses.get(n)) for n in names]
    cards = [
        card(
            one.image, truth, seen, pictures,
            facts=_effect_text(one, names), better=str(_better(one, names)),
        )
        for one in chosen
    ]  # fmt: skip
    choices = [
        Filter("better", "Better here", {str(i): name for i, name in enumerate(names)}),
        *filters(truth),
        Filter("model", "Error of", {str(i): name for i, name in enumerate(names)}),
    ]
    text = (
        f"The {len(cards)} images in which the models differ most, by what each costs: the AP of "
        "all others without it, minus the AP of all."
    )
    if len(comparison.models) > _PANELS:
        text += f" The first {_PANELS} of {len(comparison.models)} models are shown."
    return paragraph(text) + gallery(cards, choices, truth.skeleton)


def _deciding(images: Sequence[ImageEffect]) -> list[ImageEffect]:
    """Return the images whose costs differ most between the models."""
    apart = [one for one in images if _spread(one) > 0]
    return sorted(apart, key=lambda one: -_spread(one))[:_IMAGES]


def _spread(one: ImageEffect) -> float:
    known = [cost for cost in one.cost.values() if math.isfinite(cost)]
    return max(known, default=0.0) - min(known, default=0.0)


def _better(one: ImageEffect, names: Sequence[str]) -> int:
    return min(range(len(names)), key=lambda i: one.cost.get(names[i], math.inf))


def _effect_text(one: ImageEffect, names: Sequence[str]) -> str:
    costs = [f"{name} {100 * one.cost[name]:+.2f}" for name in names if name in one.cost]
    return f"Costs {', '.join(costs)} points of AP".replace("-", "−")
