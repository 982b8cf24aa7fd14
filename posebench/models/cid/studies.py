"""CID's ablations, in the order of the paper's tables."""

from __future__ import annotations

from posebench.studies import Study, Variant, named

_W48_TINY = ("backbone=hrnet_tiny_36", "embedding=48")  # hrnet_tiny has 24 channels
_LARGE_TINY = (*_W48_TINY, "augment.size=224", "inference.resize.short_side=320")


def _ochuman(
    name: str, row: int, column: str, recipe: str, trained_on: str, tested_on: str
) -> Variant:
    tiny = _W48_TINY if "w48" in recipe else ()
    return Variant(
        name, row, column=column, recipe=recipe, tiny=tiny,
        trained_on=trained_on, tested_on=tested_on,
    )  # fmt: skip


STUDIES = (
    Study(
        "cid/recalibration", "A1", "cid_table01",
        "contrastive loss, spatial and channel recalibration",
        base="cid_hrnet_w32_coco", share=0.25,  # 35 of 140 epochs
        variants=(
            Variant("spatial", 1, ("contrastive_weight=0", "channel=false")),
            Variant("channel", 2, ("contrastive_weight=0", "spatial=false")),
            Variant("both", 3, ("contrastive_weight=0",)),
            Variant("contrastive, spatial", 4, ("channel=false",)),
            Variant("contrastive, channel", 5, ("spatial=false",)),
            Variant("contrastive, both", 6),
        ),
    ),
    Study(
        "cid/embedding", "A2", "cid_table02", "width of the person embedding",
        base="cid_hrnet_w32_coco", share=0.25,
        variants=named((8, 16, 32, 64), "embedding", (1, 2, 3, 4)),
    ),
    Study(
        "cid/time", "A3", "Figure 5a", "time of each part by number of people",
        command="posebench speed --models cid --people 1,5,20,50",
    ),
    Study(
        "cid/roialign", "A4", "Figure 5b", "time of person features by GFD and by RoIAlign",
        command="posebench speed --models cid --alternatives --people 1,5,20,50",
    ),
    Study(
        "cid/efficiency", "A5", "cid_table03", "memory, parameters, operations and time",
        command="posebench speed --models cid,dekr,higher_hrnet --protocol paper",
    ),
    Study(
        "cid/ochuman", "A6", "cid_table06", "training set of a model tested on OCHuman",
        base="cid_hrnet_w32_ochuman", dataset="ochuman",
        variants=tuple(
            _ochuman(f"{width}, {name}", row, column, recipe, trained_on, tested_on)
            for width, row in (("W32", 11), ("W48", 12))
            for name, column, recipe, trained_on, tested_on in (
                (
                    "OCHuman val to test", "AP_trainOCHval_testOCHtest",
                    f"cid_hrnet_{width.lower()}_ochuman", "ochuman:val", "ochuman:test",
                ),
                (
                    "COCO to val", "AP_trainCOCO_testOCHval",
                    f"cid_hrnet_{width.lower()}_coco", "coco:train", "ochuman:val",
                ),
                (
                    "COCO to test", "AP_trainCOCO_testOCHtest",
                    f"cid_hrnet_{width.lower()}_coco", "coco:train", "ochuman:test",
                ),
            )
        ),
    ),
    *(
        Study(
            name, "A7", table, "width of the backbone and size of the input",
            base=f"cid_hrnet_w32_{dataset}", dataset=dataset,
            variants=(
                Variant("W32, 512", rows[0]),
                Variant("W48, 640", rows[1], recipe=f"cid_hrnet_w48_{dataset}", tiny=_LARGE_TINY),
            ),
        )
        for name, table, dataset, rows in (
            ("cid/backbone", "cid_table04", "coco", (17, 18)),
            ("cid/backbone_crowdpose", "cid_table05", "crowdpose", (8, 9)),
        )
    ),
    Study(
        "cid/feature_maps", "A8", "Figure 4", "instance heatmaps with and without contrastive loss",
        command="posebench viz IMAGE --heatmaps --model RUN, where RUN is a training of "
        "cid/recalibration: `both`, then `contrastive, both`",
    ),
)  # fmt: skip
