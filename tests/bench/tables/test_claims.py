"""The ledger: its verdicts, and claims that are counted in a moment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from posebench.bench.tables.claims import (
    QUANTITIES,
    Claim,
    check_claims,
    claim_rows,
    judge,
    list_untested,
    read_claims,
    untested_rows,
)
from posebench.bench.tables.papers import load_table, read_text, table_names

CLAIM = Claim(
    "id", "A network takes 40.0", "cid_tiny", "gmacs",
    printed=40.0, tolerance=0.05, explanation="because", pinned=38.2,
)  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "measured", "verdict"),
    [
        (CLAIM, 40.04, "holds"),
        (CLAIM, 39.96, "holds"),
        (CLAIM, 40.06, "fails"),
        (CLAIM, 38.2, "explained"),
        (CLAIM, 38.205, "explained"),
        (CLAIM, 38.3, "fails"),  # neither printed nor what the cause was found for
        (CLAIM, None, "absent"),
        (replace(CLAIM, explanation=""), 38.2, "fails"),
        (replace(CLAIM, pinned=None), 38.2, "fails"),
        (replace(CLAIM, printed=None), 38.2, "counted"),
        (replace(CLAIM, printed=None), 40.0, "fails"),
        (replace(CLAIM, printed=-10.3, pinned=-8.8), -8.8, "explained"),
    ],
)
def test_verdicts(claim: Claim, measured: float | None, verdict: str) -> None:
    assert judge(claim, measured) == verdict


def test_the_ledger_is_whole() -> None:
    claims = read_claims()
    assert len({claim.id for claim in claims}) == len(claims) > 40
    facts = read_text("text_facts.csv")
    for claim in claims:
        assert claim.quantity in QUANTITIES
        # What is not printed, and what is not as printed, is pinned.
        assert claim.printed is not None or claim.pinned is not None
        assert bool(claim.explanation) <= (claim.pinned is not None)
        assert ("more" in claim.quantity) == bool(claim.against)
        kind, _, fact = claim.source.partition(":")
        if fact:
            assert kind == "text"
            assert f"\n{fact}," in facts
        elif claim.source not in ("", "torchvision", "released"):
            assert claim.source in table_names()


def test_claims_repeat_what_their_tables_print() -> None:
    columns = {"params_M": "params_M", "gmacs": "GFLOPs", "gmacs_as_written": "GFLOPs",
               "params_MiB": "params_MB"}  # fmt: skip
    checked = 0
    for claim in read_claims():
        if claim.source in table_names() and claim.quantity in columns:
            column = load_table(claim.source).rows[columns[claim.quantity]]
            assert claim.printed in {float(cell) for cell in column if cell}, claim.id
            checked += 1
    assert checked > 15


METHODS = ("cid", "dekr", "higherhrnet", "hrnet", "grouppose", "posedet", "dgcn", "mask-rcnn")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_in_the_ledger(method: str) -> None:
    quantities = {c.quantity for c in read_claims() if c.id.startswith(f"{method}-")}
    assert {"params_M", "params_MiB"} & quantities
    # DGCN prints none.
    assert {"gmacs", "gmacs_as_written"} & quantities or method == "dgcn"


def test_quick_claims_are_counted() -> None:
    quick = [c for c in read_claims() if c.recipe.startswith(("mask_rcnn", "posedet_dla34"))]
    checked = check_claims(quick)
    assert {one.claim.id: one.verdict for one in checked} == {
        "mask-rcnn-params": "holds",
        "mask-rcnn-gmacs": "explained",
        "posedet-dla34-params": "counted",
        "posedet-dla34-gmacs": "counted",
    }
    rows = claim_rows(checked)
    assert list(rows["verdict"]) == [one.verdict for one in checked]


def test_ratios_are_of_what_is_counted() -> None:
    def counted(quantity: str, **fields: object) -> float:
        claim = replace(CLAIM, quantity=quantity, **fields)  # type: ignore[arg-type]
        return QUANTITIES[quantity](claim)

    own, other = "higher_hrnet_tiny", "mask_rcnn_tiny"
    params, others = (counted("params_M", recipe=name) for name in (own, other))
    more = counted("params_percent_more", recipe=own, against=other)
    assert more == pytest.approx(100 * (params / others - 1))
    size = counted("params_MiB_more", recipe=own, against=other)
    assert size == pytest.approx((params - others) * 1e6 * 4 / 1024**2)
    # Twice the side is four times the work; two looks at it with mirror sixteen.
    looks = counted("gmacs_times", recipe=own, size=(128, 128), sizes=((256, 256),) * 2, views=2)
    assert looks == pytest.approx(16, rel=1e-6)


def test_a_recipe_that_is_not_there_is_no_failure() -> None:
    told: list[str] = []
    gone = replace(CLAIM, recipe="a_recipe_of_former_times")
    [checked] = check_claims([gone], lambda claim: told.append(claim.id))
    assert (checked.count, checked.verdict, told) == (None, "absent", ["id"])


def test_what_is_untested_says_what_it_needs() -> None:
    found = list_untested()
    rows = untested_rows(found)
    assert set(rows["verdict"]) == {"untested"}
    assert rows["claim"].is_unique
    needs = {(one.table, one.row, one.figure): one.needs for one in found}
    assert "COCO test-dev2017 and its evaluation server" in needs["cid_table04", 17, "AP"]
    assert "A100" in needs["grouppose_table06", 7, "FPS"]
    assert "OCHuman val" in needs["cid_table06", 11, "AP_trainCOCO_testOCHval"]
    assert not any(one.figure in ("params_M", "GFLOPs") for one in found)
