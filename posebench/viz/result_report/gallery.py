"""The gallery: images as annotated and as models see them, filtered by pressing buttons.

Every card lists its errors as tokens `class/keypoint/model`, numbers for the latter two, such as
`swap/9/0`; buttons choose a class, a keypoint and a model, and a card is shown if one of its errors
is all of these. Without its script the page shows all cards.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posebench.skeleton import Skeleton
from posebench.viz.colours import RGB
from posebench.viz.result_report.pictures import embedded
from posebench.viz.result_report.poses import PANEL, Panel, panel_svg, sign
from posebench.viz.result_report.svg import element


@dataclass(frozen=True)
class Card:
    """One image."""

    key: str  # unique on the page
    title: str  # such as its file name
    facts: str  # a line below the title
    size: tuple[float, float]  # width and height in pixels
    picture: RGB | None  # None: the image is not here
    panels: Sequence[Panel]
    errors: Sequence[str]  # tokens
    better: str = ""  # number of the model that is better here; empty: not said


@dataclass(frozen=True)
class Filter:
    """A group of buttons, of which one is pressed at most."""

    name: str  # kind, keypoint, model or better
    label: str  # what it chooses
    options: Mapping[str, str]  # value -> what its button says


def gallery(cards: Sequence[Card], filters: Sequence[Filter], skeleton: Skeleton) -> str:
    """Return the gallery with its buttons.

    Args:
        cards: in the order to be shown.
        filters: choices of no card are left out.
        skeleton: names the keypoints.
    """
    bars = "".join(_bar(one, cards) for one in filters)
    pairs = " pairs" if all(len(card.panels) <= 2 for card in cards) else ""
    images = "1 image" if len(cards) == 1 else f"{len(cards)} images"
    return (
        '<div class="gallery">'
        f'<div class="filters" hidden>{bars}<p class="shown">'
        f'<span role="status" aria-live="polite">{images}</span> '
        '<button type="button" class="reset">Show all</button></p></div>'
        f'<div class="cards{pairs}">{"".join(_card(card, skeleton) for card in cards)}</div></div>'
    )


def _bar(filter_: Filter, cards: Sequence[Card]) -> str:
    """Return a group of buttons with the number of cards that each leaves."""
    buttons = []
    for value, label in filter_.options.items():
        count = sum(_has(card, filter_.name, value) for card in cards)
        if not count:
            continue
        mark = sign(value) if filter_.name == "kind" else ""
        buttons.append(
            f'<button type="button" aria-pressed="false" id="filter-{filter_.name}-{value}" '
            f'data-filter="{filter_.name}" data-value="{html.escape(value)}">{mark}'
            f'{html.escape(label)} <span class="count">{count}</span></button>'
        )
    if not buttons:
        return ""
    label = html.escape(filter_.label)
    return (
        f'<div class="bar" role="group" aria-label="{label}"><span class="name" aria-hidden="true">'
        f"{label}</span><div>{''.join(buttons)}</div></div>"
    )


_PARTS = {"kind": 0, "keypoint": 1, "model": 2}


def _has(card: Card, name: str, value: str) -> bool:
    if name == "better":
        return card.better == value
    return any(token.split("/")[_PARTS[name]] == value for token in card.errors)


def _card(card: Card, skeleton: Skeleton) -> str:
    scale = PANEL / max(card.size)
    picture, name = "", ""
    if card.picture is not None:
        name = f"picture-{card.key}"
        image = element(
            "image", id=name, href=embedded(card.picture),
            width=card.size[0] * scale, height=card.size[1] * scale, preserveAspectRatio="none",
        )  # fmt: skip
        # Once in the page, and shown by every panel.
        picture = f'<svg class="store" width="0" height="0" aria-hidden="true">{image}</svg>'
    panels = "".join(
        f'<figure class="panel"><figcaption>{html.escape(panel.title)}</figcaption>'
        f"{panel_svg(panel, card.size, skeleton, name)}{_notes(panel)}</figure>"
        for panel in card.panels
    )
    shape = " tall" if card.size[1] > 1.15 * card.size[0] else ""
    return (
        f'<article class="card{shape}" data-errors="{html.escape(" ".join(card.errors))}" '
        f'data-better="{card.better}" aria-labelledby="card-{card.key}">'
        f'<h3 id="card-{card.key}">{html.escape(card.title)}</h3>'
        f'<p class="notes">{html.escape(card.facts)}</p>{picture}'
        f'<div class="panels">{panels}</div></article>'
    )


def _notes(panel: Panel) -> str:
    return f'<p class="notes">{html.escape("; ".join(panel.notes))}</p>' if panel.notes else ""


SCRIPT = """
for (const gallery of document.querySelectorAll(".gallery")) {
  const cards = [...gallery.querySelectorAll(".card")], chosen = {};
  const buttons = [...gallery.querySelectorAll("[data-filter]")];
  const status = gallery.querySelector("[role=status]"), parts = ["kind", "keypoint", "model"];
  const fits = token => token.split("/").every(
    (part, at) => chosen[parts[at]] === undefined || chosen[parts[at]] === part);
  const apply = () => {
    const any = parts.some(part => chosen[part] !== undefined);
    let shown = 0;
    for (const card of cards) {
      const errors = card.dataset.errors.split(" ").filter(token => token);
      const fit = (!any || errors.some(fits)) &&
        (chosen.better === undefined || chosen.better === card.dataset.better);
      card.hidden = !fit;
      shown += fit;
      for (const mark of card.querySelectorAll("[data-error]"))
        mark.classList.toggle("off", !fits(mark.dataset.error));
    }
    for (const button of buttons) button.setAttribute(
      "aria-pressed", String(chosen[button.dataset.filter] === button.dataset.value));
    status.textContent = shown === cards.length ? `All ${shown} images are shown.`
      : `${shown} of ${cards.length} images ${shown === 1 ? "is" : "are"} shown.`;
  };
  for (const button of buttons) button.onclick = () => {
    const {filter, value} = button.dataset;
    if (chosen[filter] === value) delete chosen[filter]; else chosen[filter] = value;
    apply();
  };
  gallery.querySelector(".reset").onclick = () => {
    for (const filter of Object.keys(chosen)) delete chosen[filter];
    apply();
  };
  // Names of classes and keypoints elsewhere on the page press their button.
  for (const link of document.querySelectorAll("a[href^='#filter-']")) link.onclick = () => {
    const button = document.getElementById(link.hash.slice(1));
    if (!button) return;
    for (const filter of Object.keys(chosen)) delete chosen[filter];
    button.click();
    button.focus({preventScroll: true});
  };
  gallery.querySelector(".filters").hidden = false;
  apply();
}
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
"""
