"""The report of `analyze`: what one model loses AP by, and where."""

from __future__ import annotations

from collections.abc import Sequence

from posebench.bench.analysis import ALONE_KINDS, KINDS, Analysis
from posebench.bench.verdict import ERRORS, analysis_sentences
from posebench.ground_truth import GroundTruth
from posebench.metrics.matching import Detections
from posebench.viz.result_report.choosing import Pictures, Seen, card, worst_images
from posebench.viz.result_report.detection_parts import detections_part, scores_part
from posebench.viz.result_report.error_parts import costs_part, keypoints_part, where_part
from posebench.viz.result_report.gallery import Filter, gallery
from posebench.viz.result_report.sections import (
    definitions,
    facts_list,
    note,
    paragraph,
    report,
    spaced,
)

_EACH = 4  # images for each kind of error

# The kinds of errors that a picture can show; those of detections are drawn as boxes.
GALLERY_KINDS = (
    "miss",
    "swap",
    "inversion",
    "jitter",
    "duplicate",
    "background",
    "missed",
    "score",
)

_PUBLISHED = (
    "Corrections as published put a keypoint nearer than the taxonomy says, at the fourth root of "
    "the similarity, and so gain more AP (--corrections published)."
)
_MEANT = (
    "A mended keypoint has the similarity that the taxonomy says: 0.5 for a miss, 0.85 for jitter."
)


def analysis_page(
    name: str,
    analysis: Analysis,
    truth: GroundTruth,
    detections: Detections,
    *,
    pictures: Pictures,
    facts: Sequence[tuple[str, str]],
) -> str:
    """Return the report as one HTML page that needs nothing else.

    Args:
        name: of the model.
        analysis: what it does wrong.
        truth: the annotations.
        detections: the detections that were analysed.
        pictures: gives an image of the ground truth by its index; None: it is not here.
        facts: names and values of how the analysis was made.
    """
    seen = Seen(name, truth, detections, analysis)
    sections = [
        ("costs", "What AP is lost on", costs_part(analysis)),
        ("keypoints", "Keypoints", keypoints_part(analysis)),
        ("detections", "Detections", detections_part(analysis)),
        ("scores", "Scores", scores_part(analysis)),
        ("where", "Where", where_part(analysis)),
        ("gallery", "The worst images", _gallery(seen, truth, pictures)),
        (
            "made",
            "How this was made",
            facts_list(facts)
            + definitions((*KINDS, *ALONE_KINDS))
            + note(_MEANT if analysis.corrections == "meant" else _PUBLISHED),
        ),
    ]
    return report(f"What {name} does wrong", analysis_sentences(name, analysis), sections)


def _gallery(seen: Seen, truth: GroundTruth, pictures: Pictures) -> str:
    chosen = worst_images(seen, _EACH)
    if not chosen:
        return ""
    cards = []
    for image, kinds in chosen.items():
        worst = ", ".join(ERRORS[kind].label for kind in kinds)
        cards.append(card(image, truth, [seen], pictures, facts=f"Among the worst: {worst}"))
    return paragraph(
        f"The {_EACH} worst images of each kind of error, as annotated and as predicted; "
        "detections below the score of the best F1 are left out, except true ones. A dashed line "
        "leads from a wrong keypoint to its place."
    ) + gallery(cards, filters(truth), truth.skeleton)


def filters(truth: GroundTruth) -> list[Filter]:
    """Return the choices by error class and keypoint."""
    names = {str(k): spaced(name) for k, name in enumerate(truth.skeleton.keypoints)}
    return [
        Filter("kind", "Error", {kind: ERRORS[kind].label for kind in GALLERY_KINDS}),
        Filter("keypoint", "Keypoint", names),
    ]
