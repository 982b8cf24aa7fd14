"""Fill the model tables of README.md and docs/which-model.md from measured rows.

    python benchmarks/model_tables.py                       # with the rows in docs/speed_rows.csv
    python benchmarks/model_tables.py --speed RUN [RUN]     # with those of one or two speed runs
    python benchmarks/model_tables.py --check               # write nothing; exit 1 if one is old

Parameters and multiply-adds are posebench's own counts, times are those of `posebench speed
--models all --quick`, AP is what the authors print or, for the tiny models, what their cards say.
A table stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->`; the rest of a page stays.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from posebench.bench.flops import describe
from posebench.models import RECIPES
from posebench.recipe import Recipe, Reported
from posebench.shipped import read_card, shipped_names

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "docs" / "speed_rows.csv"
PRINTED = ROOT / "posebench" / "bench" / "tables" / "paper_tables"

# README shows the published networks that most people ask for; docs/which-model.md has all.
IN_README = (
    "posedet_dla34_coco",
    "higher_hrnet_w32_coco",
    "cid_hrnet_w32_coco",
    "dekr_hrnet_w32_coco",
    "pifpaf_resnet50_coco",
    "dgcn_resnet50_coco",
    "posedet_hrnet_w48_coco",
    "cid_hrnet_w48_coco",
    "higher_hrnet_w48_640_coco",
    "mask_rcnn_resnet50_coco",
    "ed_pose_resnet50_coco",
    "dgcn_resnet152_coco",
    "group_pose_resnet50_coco",
    "group_pose_swin_l_coco",
)


# Method: its name, its page, the licence of the authors' code.
METHODS = {
    "cid": ("CID", "cid.md", "MIT"),
    "dekr": ("DEKR", "dekr.md", "MIT"),
    "higher_hrnet": ("HigherHRNet", "higher_hrnet.md", "MIT"),
    "ed_pose": ("ED-Pose", "ed_pose.md", "Apache-2.0, later non-commercial"),
    "group_pose": ("Group Pose", "group_pose.md", "Apache-2.0"),
    "posedet": ("PoseDet", "posedet.md", "MIT"),
    "dgcn": ("DGCN", "dgcn.md", ""),
    "pifpaf": ("PifPaf", "dgcn.md", ""),
    "mask_rcnn": ("Mask R-CNN", "mask_rcnn.md", "BSD-3-Clause"),
}

# Of which recipes the authors published weights, by the beginning of the name.
PUBLISHED_WEIGHTS = {
    "cid_hrnet_w32": "authors'",
    "dekr_hrnet_w32": "authors'",
    "dekr_hrnet_w48": "authors'",
    "higher_hrnet_w32": "authors'",
    "higher_hrnet_w48_640_coco": "authors'",
    "ed_pose_resnet50": "authors'",
    "ed_pose_swin_l": "authors'",
    "group_pose_": "authors'",
    "mask_rcnn_resnet50_coco": "torchvision's",
}


@dataclass(frozen=True)
class Timing:
    """Medians of one or two speed runs of a recipe."""

    input: str  # height x width
    p50_ms: tuple[float, ...]

    @property
    def text(self) -> str:
        return " / ".join(number(value) for value in self.p50_ms)


def number(value: float) -> str:
    """Return a figure with three significant digits, or all digits before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def read_timings(path: Path = ROWS) -> dict[str, Timing]:
    """Return the timings by recipe."""
    with path.open(newline="") as file:
        return {
            row["recipe"]: Timing(
                row["input"], tuple(float(row[c]) for c in ("p50_ms", "p50_ms_again") if row[c])
            )
            for row in csv.DictReader(file)
        }


def write_timings(runs: Sequence[Path], path: Path = ROWS) -> None:
    """Write the rows of one or two speed runs, the first one's models by time."""
    medians: list[dict[str, float]] = []
    inputs: dict[str, str] = {}
    for run in runs:
        with (run / "results.csv").open(newline="") as file:
            rows = [r for r in csv.DictReader(file) if r["metric"] == "latency_p50"]
        inputs |= {row["recipe"]: row["input_size"] for row in rows}
        medians.append({row["recipe"]: float(row["value"]) for row in rows})
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("recipe", "input", "p50_ms", "p50_ms_again"))
        for name in sorted(medians[0], key=medians[0].__getitem__):
            values = [_rounded(m[name]) if name in m else "" for m in medians]
            out.writerow((name, inputs[name], *values, *[""] * (2 - len(values))))


def _rounded(milliseconds: float) -> str:
    return f"{milliseconds:.0f}" if milliseconds >= 1000 else f"{milliseconds:.4g}"


def published(recipe: Recipe, dataset: str, split: str) -> Reported | None:
    """Return the authors' AP on a split, from their paper if they give two."""
    found = [
        r
        for r in recipe.reported
        if (r.dataset, r.metric) == (dataset, "AP") and r.split.startswith(split)
    ]
    return max(found, key=lambda r: r.source.startswith("paper:"), default=None)


def printed_views(recipe: Recipe, result: Reported) -> str:
    """Return with which views the authors tested ("flip", "none"), or "" if that is not stated."""
    table = result.source.removeprefix("paper:").replace(":", "_")  # "paper:cid:table05"
    with (PRINTED / "rows.csv").open(newline="") as file:
        rows = {
            (row["table"], row["row"])
            for row in csv.DictReader(file)
            if row["recipe"] == recipe.name and not row["settings"]
        }
    with (PRINTED / f"{table}.csv").open(newline="") as file:
        views = {
            row["test_time_augmentation"]
            for row in csv.DictReader(file)
            if (table, row["row"]) in rows and row.get("AP") == f"{result.value:.1f}"
        }
    return views.pop() if len(views) == 1 else ""


def ap_text(recipe: Recipe, dataset: str, split: str) -> str:
    """Return the authors' AP, with a letter for how it was tested."""
    result = published(recipe, dataset, split)
    if result is None:
        return ""
    if result.source == "released":  # by the authors' repository, not by their paper
        return f"{result.value:.1f} r"
    mark = {"flip": " f", "none": ""}.get(printed_views(recipe, result), " ?")
    return f"{result.value:.1f}{mark}"


def on_dataset(recipe: Recipe, dataset: str) -> Recipe | None:
    """Return the recipe of the same network for another dataset."""
    return RECIPES.get(recipe.name.removesuffix("_coco") + f"_{dataset}")


def weights_text(recipe: Recipe) -> str:
    """Return whose weights there are, and the licence of the code that came with them."""
    for beginning, owner in PUBLISHED_WEIGHTS.items():
        if recipe.name.startswith(beginning):
            return f"{owner} ({METHODS[recipe.method][2]})"
    return "–"


def crowdpose_text(recipe: Recipe) -> str:
    other = on_dataset(recipe, "crowdpose")
    return ap_text(other, "crowdpose", "test") if other else ""


def markdown(head: str, rows: Iterable[Sequence[str]]) -> str:
    columns = head.split("|")
    rule = ["---" if i == 0 else "--:" for i in range(len(columns))]
    lines = [columns, rule, *rows]
    return "\n".join("| " + " | ".join(cell.strip() for cell in line) + " |" for line in lines)


def by_time(names: Iterable[str], timings: dict[str, Timing]) -> list[str]:
    """Return names, the fastest first, and those that were not timed last."""

    def key(name: str) -> tuple[float, float]:
        timed = timings[name].p50_ms[0] if name in timings else math.inf
        return timed, describe(RECIPES[name])["gmacs"]

    return sorted(names, key=key)


def published_table(timings: dict[str, Timing]) -> str:
    """Return README's table: what the published networks reached, and what they cost here."""
    rows = []
    for name in by_time(IN_README, timings):
        recipe = RECIPES[name]
        title, page, _ = METHODS[recipe.method]
        rows.append(
            (
                f"[{title}](docs/{page}), `{name}`",
                *printed_and_counted(recipe),
                number(timings[name].p50_ms[0]) if name in timings else "",
                weights_text(recipe),
            )
        )
    head = (
        "model|COCO val AP|COCO test-dev AP|CrowdPose test AP|params, M|GMACs|ms on two cores|"
        "weights (licence)"
    )
    return markdown(head, rows)


def printed_and_counted(recipe: Recipe) -> tuple[str, ...]:
    """Return the cells of the authors' AP, the parameters and the GMACs."""
    cost = describe(recipe)
    return (
        ap_text(recipe, "coco", "val2017"),
        ap_text(recipe, "coco", "test-dev2017"),
        crowdpose_text(recipe),
        f"{cost['params_M']:.1f}",
        number(cost["gmacs"]),
    )


def zoo_table(timings: dict[str, Timing]) -> str:
    """Return the table of all published networks for COCO, the fastest first."""
    rows = []
    reference = timings["cid_hrnet_w32_coco"].p50_ms[0]
    methods = {RECIPES[name].method for name in timings}
    names = [
        name
        for name, recipe in RECIPES.items()
        if name.endswith("_coco") and (name in timings or recipe.method not in methods)
    ]
    for name in by_time(names, timings):
        timed = timings.get(name)
        rows.append(
            (
                f"`{name}`",
                *printed_and_counted(RECIPES[name]),
                timed.input if timed else "",
                timed.text if timed else "",
                f"{timed.p50_ms[0] / reference:.2f}" if timed else "",
            )
        )
    head = (
        "recipe|COCO val AP|COCO test-dev AP|CrowdPose test AP|params, M|GMACs|input timed|ms|"
        "vs. `cid_hrnet_w32_coco`"
    )
    return markdown(head, rows)


def tiny_table(timings: dict[str, Timing]) -> str:
    """Return the table of the tiny models, with the AP of their cards where weights are shipped."""
    rows = []
    shipped = set(shipped_names())
    for name in by_time((n for n in RECIPES if n.endswith("_tiny")), timings):
        cost = describe(RECIPES[name])
        card = read_card(name) if name in shipped else None
        rows.append(
            (
                f"`{name}`",
                f"{card.ap:.1f} ({card.ap_low:.1f} to {card.ap_high:.1f})" if card else "",
                f"{cost['params_M']:.1f}",
                number(cost["gmacs"]),
                timings[name].input if name in timings else "",
                timings[name].text if name in timings else "",
            )
        )
    head = "recipe|AP on synthetic crowds (95 % interval)|params, M|GMACs|input timed|ms"
    return markdown(head, rows)


PAGES = {
    "README.md": {"published models": published_table},
    "docs/which-model.md": {"zoo": zoo_table, "tiny models": tiny_table},
}


def filled(page: str, text: str, timings: dict[str, Timing]) -> str:
    """Return a page's text with its tables made anew.

    Raises:
        ValueError: the page has no such region.
    """
    for region, table in PAGES[page].items():
        begin, end = f"<!-- {region}: begin -->\n", f"<!-- {region}: end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{page} should have one region {region!r}")
        before, rest = text.split(begin)
        text = before + begin + table(timings) + "\n" + end + rest.split(end)[1]
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--speed", type=Path, nargs="+", help="folders of one or two speed runs")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    for run in options.speed or []:
        if not (run / "results.csv").is_file():
            parser.error(f"{run} has no results.csv: expected a run folder of posebench speed")
    if options.speed:
        write_timings(options.speed)
    timings = read_timings()
    old = []
    for page in PAGES:
        path = ROOT / page
        before = path.read_text(encoding="utf-8")
        after = filled(page, before, timings)
        if after != before:
            old.append(page)
            if not options.check:
                path.write_text(after, encoding="utf-8")
    print(f"{'old' if options.check else 'written'}: {', '.join(old) or 'none'}")
    if options.check and old:
        sys.exit(1)


if __name__ == "__main__":
    main()
