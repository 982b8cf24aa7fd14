"""The package's copy of the papers' figures: complete, consistent, and matched with the zoo."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from posebench.bench.tables.joined import figure_columns
from posebench.bench.tables.papers import find_table, load_table, read_text, short_name, table_names
from posebench.errors import UsageError
from posebench.models import RECIPES


def test_every_table_is_there_and_has_the_rows_that_the_index_says() -> None:
    folder = resources.files("posebench.bench.tables") / "paper_tables"
    files = {path.name for path in folder.iterdir()}
    assert len(table_names()) == 38
    assert {f"{name}.csv" for name in table_names()} == {f for f in files if "_table" in f}
    others = {"index.csv", "rows.csv", "text_facts.csv", "claims.toml", "README.md"}
    assert others | {"crosspaper_notes.md"} == {f for f in files if "_table" not in f}
    index = dict(re.findall(r"^(\w+)\.csv,.*?,(\d+),(?:\"|[^,]*$)", read_text("index.csv"), re.M))
    counts = {name: str(len(load_table(name).rows)) for name in table_names()}
    assert index.items() <= counts.items()
    assert len(index) > 30


@pytest.mark.parametrize("name", table_names())
def test_rows_are_matched_with_recipes_of_their_method(name: str) -> None:
    table = load_table(name)
    numbers = [int(row) for row in table.rows["row"]]
    assert numbers == list(range(1, len(numbers) + 1))
    methods = {
        "CID": "cid", "HigherHRNet": "higher_hrnet", "HRNet-bottomup": "higher_hrnet_baseline",
        "GroupPose": "group_pose", "PoseDet": "posedet", "DGCN": "dgcn", "PifPaf": "pifpaf",
        "MaskRCNN": "mask_rcnn", "DEKR": "dekr",
    }  # fmt: skip
    for found in table.recipes:
        row = table.rows.iloc[found.row - 1]
        assert found.name.startswith(methods[row["method_key"]])
        assert found.column == "" or found.column in table.rows
        assert found.recipe is not None, found.name  # its settings fit it
        backbone = re.sub(r"\W", "", row["backbone"].lower().partition("+")[0])
        own = found.recipe.config.backbone.replace("_", "")
        # Some tables print no backbone, or the size of Swin's first stage's name only.
        assert own.startswith(backbone[:6])


def test_every_own_row_of_a_method_of_the_zoo_has_a_recipe() -> None:
    missing = [
        (name, row["row"])
        for name in table_names()
        for _, row in load_table(name).rows.iterrows()
        if row["ours"] == "true" and load_table(name).recipe_of(int(row["row"])) is None
        and not any(f.row == int(row["row"]) for f in load_table(name).recipes)
    ]  # fmt: skip
    assert missing == []


def test_ablations_are_different_recipes() -> None:
    for name in ("cid_table01", "grouppose_table04_e", "higherhrnet_table04", "posedet_table05"):
        table = load_table(name)
        configs = {repr((f.recipe.config, f.recipe.augment)) for f in table.recipes if f.recipe}
        assert len(configs) == len(table.rows)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("cid/4", "cid_table04"),
        ("cid_table04", "cid_table04"),
        ("CID/Table 4", "cid_table04"),
        ("grouppose/4a", "grouppose_table04_a"),
        ("group_pose/4A", "grouppose_table04_a"),
        ("grouppose/A02", "grouppose_tableA02"),
        ("higher_hrnet/1", "higherhrnet_table01"),
        ("dgcn_table08.csv", "dgcn_table08"),
    ],
)
def test_tables_have_short_names(name: str, table: str) -> None:
    assert find_table(name) == table


def test_short_names_are_unique_and_lead_back() -> None:
    names = [short_name(name) for name in table_names()]
    assert len(set(names)) == len(names)
    assert [find_table(name) for name in names] == list(table_names())


def test_a_misspelt_table_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"Did you mean cid/\d"):
        find_table("cidd/4")
    with pytest.raises(UsageError, match="name one of posedet/1, posedet/2"):
        find_table("posedet")


def test_figures_are_numbers() -> None:
    for name in table_names():
        table = load_table(name)
        assert figure_columns(table) or not table.recipes
        for figure in figure_columns(table):
            assert all(float(cell) >= 0 for cell in table.rows[figure] if cell)


def test_recipes_of_rows_are_in_the_zoo() -> None:
    named = {found.name for name in table_names() for found in load_table(name).recipes}
    assert named <= RECIPES.keys()
    assert {RECIPES[name].method for name in named} == {r.method for r in RECIPES.values()}
