"""HigherHRNet's ablations, in the order of the paper's tables."""

from __future__ import annotations

from posebench.studies import Study, Variant

_NO_BLOCKS = "blocks=0"  # the paper adds residual blocks last
_FINEST_ONLY = ("aggregate=false",)
# The paper does not list its scales; these three are usual.
_SCALES = ("inference.scales=[0.5,1.0,2.0]",)

STUDIES = (
    Study(
        "higher_hrnet/deconvolutions", "D1", "higherhrnet_table03", "deconvolution modules",
        base="higher_hrnet_w32_coco",
        variants=(
            Variant("none", 1, ("deconvolutions=0",)),
            Variant("one", 2, (_NO_BLOCKS,)),
            Variant("two", 3, ("deconvolutions=2", _NO_BLOCKS, "augment.mask_strides=[4,2,1]")),
        ),
    ),
    Study(
        "higher_hrnet/components", "D2", "higherhrnet_table04", "components added one by one",
        base="higher_hrnet_w32_coco",
        variants=(
            Variant("a: HRNet", 1, ("deconvolutions=0",)),
            Variant(
                "deconvolution, finest loss alone",
                train=("concatenate=false", "supervise_all=false", _NO_BLOCKS), test=_FINEST_ONLY,
            ),
            Variant(
                "b: loss at every resolution", 2, ("concatenate=false", _NO_BLOCKS), _FINEST_ONLY
            ),
            Variant("c: concatenation", 3, (_NO_BLOCKS,), _FINEST_ONLY),
            Variant("d: aggregation", 4, (_NO_BLOCKS,)),
            Variant("e: residual blocks", 5),
        ),
    ),
    Study(
        "higher_hrnet/size", "D3", "higherhrnet_table05", "image size in training and test",
        base="higher_hrnet_w32_coco",
        variants=tuple(
            Variant(
                str(size), row,
                (f"augment.size={size}", f"inference.resize.short_side={size}"),
                tiny=(f"augment.size={crop}", f"inference.resize.short_side={side}"),
            )
            for row, size, crop, side in (
                (1, 512, 192, 256), (2, 640, 256, 320), (3, 768, 288, 384),
            )
        ),
    ),
    Study(
        "higher_hrnet/backbone", "D4", "higherhrnet_table06", "width of the backbone",
        base="higher_hrnet_w32_640_coco",
        variants=(
            Variant("W32", 1),
            Variant("W40", 2, recipe="higher_hrnet_w40_640_coco", tiny=("backbone=hrnet_tiny_30",)),
            Variant("W48", 3, recipe="higher_hrnet_w48_640_coco", tiny=("backbone=hrnet_tiny_36",)),
        ),
    ),
    *(
        Study(
            name, "D5", table, "several scales at test time",
            base=f"higher_hrnet_w48_640_{dataset}", dataset=dataset,
            variants=(
                Variant("one scale", rows[0]), Variant("three scales", rows[1], test=_SCALES),
            ),
        )
        for name, table, dataset, rows in (
            ("higher_hrnet/scales", "higherhrnet_table01", "coco", (7, 11)),
            ("higher_hrnet/scales_crowdpose", "higherhrnet_table07", "crowdpose", (5, 6)),
        )
    ),
)  # fmt: skip
