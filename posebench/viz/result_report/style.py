"""Colours and layout of the reports, on top of what all pages share."""

from __future__ import annotations

from posebench.viz.pages import colour_rules

# The colour of each error class, the same in all charts and on all pictures; signs, labels and
# order say it too. Light and dark; the contrast with either ground is at least 3.
KINDS: dict[str, tuple[str, str]] = {
    "good": ("#7d8a98", "#77838f"),
    "jitter": ("#b8770b", "#e5b04a"),
    "inversion": ("#8a4fc7", "#bb98f2"),
    "swap": ("#1b6fd1", "#6db0ff"),
    "miss": ("#cf3a2f", "#ff8074"),
    "absent": ("#5c1f1a", "#f4c1bb"),
    "score": ("#0d837a", "#45c7ba"),
    "background": ("#7b6b28", "#c9b870"),
    "missed": ("#46525f", "#c5ced7"),
    "duplicate": ("#b6317f", "#f286c2"),
    "localisation": ("#56792a", "#9dc861"),
}
# Of models, which are told apart by names and order too.
SERIES: tuple[tuple[str, str], ...] = (
    ("#1b63b0", "#6fb2f5"), ("#c2500e", "#ff9d60"), ("#0b7a5b", "#4fcfa5"),
    ("#8746b8", "#c79af0"), ("#86680a", "#dfbd4c"), ("#b0306a", "#f58bb9"),
)  # fmt: skip

_PLAIN = {"plain": ("#e9edf1", "#262c33")}  # the ground of poses whose image is not here


def series(index: int) -> str:
    """Return the class of a model's colour; colours repeat after the sixth."""
    return f"s{index % len(SERIES)}"


def _classes() -> str:
    # Signs on pictures are bright in either scheme, since they have a dark line around them.
    rules = [f".k-{kind}{{--c:var(--{kind});--mark:{pair[1]}}}" for kind, pair in KINDS.items()]
    rules += [f".s{index}{{--c:var(--series-{index})}}" for index in range(len(SERIES))]
    return "".join(rules) + "\n"


STYLE = (
    colour_rules(KINDS | {f"series-{i}": pair for i, pair in enumerate(SERIES)} | _PLAIN)
    + _classes()
    + """
.lead p { max-width: 60rem; margin: .4rem 0; } .lead p:first-child { font-size: 1.35rem;
  line-height: 1.4; text-wrap: pretty; }
.skip { position: absolute; left: -99rem; } .skip:focus { position: static; }
nav.contents { margin: 1.5rem 0 0; padding: .5rem 0; border-block: 1px solid var(--line); }
section > p { max-width: 60rem; } section > .wide { margin: 1.2rem 0; }
.side { display: grid; gap: 1.6rem 2.5rem; margin: 1.4rem 0; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(28rem, 100%), 1fr)); }
.side > * { margin: 0; min-width: 0; } .side figcaption { font-size: 14px; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem;
  font-size: 13px; } dl.facts dt { color: var(--muted); } dl.facts dd { margin: 0;
  overflow-wrap: anywhere; }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--link); width: max-content;
  max-width: 100%; }
.chart { font: 13px system-ui, sans-serif; width: 100%; max-width: 32rem; display: block;
  overflow: visible; }
.chart text { fill: var(--text); dominant-baseline: central; }
.chart .quiet { fill: var(--muted); font-size: 12px; } .chart .value {
  font-variant-numeric: tabular-nums; font-size: 12px; }
.grid { stroke: var(--line); } .zero, .diagonal { stroke: var(--muted); }
.diagonal { stroke-dasharray: 4 4; } .joint { stroke: var(--muted); }
.chart .bar { fill: var(--c); } .base { fill: var(--accent); } .count { fill: var(--line); }
.whisker { stroke: var(--text); stroke-width: 1.3; }
.halo { stroke: var(--ground); stroke-width: 3.4; stroke-linecap: square; }
.reach, .gap { stroke: var(--c); stroke-width: 1.8; } .gap { stroke-width: 1; }
.curve { fill: none; stroke: var(--c); stroke-width: 2.2; } .thin { stroke-width: 1;
  opacity: .75; } .band { fill: var(--c); opacity: .18; }
.faint :is(line, circle) { opacity: .5; } .chart .faint text { fill: var(--muted); }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: 13px; margin: .3rem 0;
  padding: 0; list-style: none; }
.key i, th i { display: inline-block; width: .8em; height: .8em; margin-right: .4em;
  border-radius: 2px; background: var(--c); }
table.matrix td { text-align: center; font-variant-numeric: tabular-nums; }
table.matrix td small { display: block; color: var(--muted); font-weight: 400; }
table.matrix .sure { background: var(--measured); font-weight: 600; }
table.matrix th { font-weight: 600; }
.gallery .filters { position: sticky; top: 0; z-index: 2; background: var(--ground);
  border-bottom: 1px solid var(--line); padding: .4rem 0; max-height: 45vh; overflow-y: auto; }
.bar { display: grid; grid-template-columns: 6rem 1fr; margin: .3rem 0; align-items: baseline; }
.bar .name { font-size: 13px; color: var(--muted); }
.bar > div { display: flex; flex-wrap: wrap; gap: .3rem; }
.filters button { font: inherit; font-size: 13px; color: var(--text); background: var(--raised);
  border: 1px solid var(--muted); border-radius: 99px; padding: .1rem .6rem; cursor: pointer;
  display: inline-flex; align-items: center; gap: .35em; min-height: 24px; }
.filters button:hover { border-color: var(--text); }
.filters button[aria-pressed=true] { background: var(--accent); border-color: var(--accent);
  color: var(--on-accent); } .filters button[aria-pressed=true] .count { color: inherit; }
.filters .count { color: var(--muted); font-variant-numeric: tabular-nums; }
.shown { margin: .3rem 0 0; font-size: 13px; color: var(--muted); }
.sign { width: 16px; height: 16px; flex: none; }
.cards { display: grid; gap: 1.2rem; margin-top: 1rem; align-items: start; }
.cards.pairs { grid-template-columns: repeat(auto-fill, minmax(min(34rem, 100%), 1fr)); }
.cards.pairs .panels { grid-template-columns: 1fr 1fr; }
.card { background: var(--raised); border-radius: 8px; padding: .7rem .9rem .9rem; }
.card[hidden] { display: none; } .card h3 { margin: 0; font-size: 1rem;
  overflow-wrap: anywhere; } .card .notes { margin: .1rem 0 .4rem; }
.panels { display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); }
.tall .panels { grid-template-columns: repeat(auto-fit, minmax(min(12rem, 100%), 1fr)); }
.panel { margin: 0; } .panel figcaption { font-size: 13px; margin-bottom: .2rem; }
.store { position: absolute; }
.pose { width: 100%; display: block; border-radius: 4px; overflow: hidden; }
.pose path, .sign path, .sign circle, .sign rect, .mark path, .mark circle, .mark rect {
  fill: none; stroke-linecap: round; stroke-linejoin: round; }
.plain { fill: var(--plain); } .edge { stroke: #1c1c20; stroke-opacity: .6; }
.score { font: 600 10px system-ui, sans-serif; fill: #fff; stroke: #1c1c20; stroke-width: 2.6px;
  paint-order: stroke; }
.mark { stroke: var(--mark); stroke-width: 2.2; } .mark rect { stroke-dasharray: 5 3; }
.mark .lead { stroke-width: 1.2; stroke-dasharray: 2 2; }
.mark .under { stroke: #101214; stroke-width: 4.4; stroke-opacity: .75; }
.mark .under .lead { stroke-width: 2.6; } .mark.off { display: none; }
@media (max-width: 40rem) { h1 { font-size: 1.5rem; } h2 { margin-top: 2.2rem; }
  .lead p:first-child { font-size: 1.15rem; } .gallery .filters { position: static;
  max-height: none; } .bar { grid-template-columns: 1fr; } dl.facts { grid-template-columns: 1fr; }
  dl.facts dd { margin-bottom: .4rem; }
  .panels { grid-template-columns: repeat(auto-fit, minmax(min(9rem, 100%), 1fr)); } }
@media print { .filters, .skip, nav.contents { display: none; } .card { break-inside: avoid; }
  .side { grid-template-columns: 1fr 1fr; } .key, caption, thead { break-after: avoid; }
  .panels, .cards.pairs .panels { grid-template-columns: none; grid-auto-flow: column;
  grid-auto-columns: 1fr; } summary { color: inherit; } }
"""
)
