"""DEKR's comparisons: those of its authors' repository, and of CID's table.

The paper's own ablations are not among them.
"""

from __future__ import annotations

from posebench.studies import Study, Variant

_RELEASED = "README of the authors' repository"
_W48_TINY = ("backbone=hrnet_tiny_36", "augment.size=224", "inference.resize.short_side=320")
# The released command tests several scales with more suppression. The tiny recipe matches to peaks.
_SCALES = ("inference.scales=[0.5,1.0,2.0]", "nms_distance=0.15")
_UNMATCHED = "match_peaks=false"

STUDIES = (
    Study(
        "dekr/ochuman", "F1", "cid_table06", "training set of a model tested on OCHuman",
        base="dekr_hrnet_w32_ochuman", dataset="ochuman",
        variants=tuple(
            Variant(
                name, 10, column=column, recipe=f"dekr_hrnet_w32_{dataset}", tiny=(),
                trained_on=trained_on, tested_on=tested_on,
            )
            for name, column, dataset, trained_on, tested_on in (
                (
                    "OCHuman val to test", "AP_trainOCHval_testOCHtest", "ochuman",
                    "ochuman:val", "ochuman:test",
                ),
                (
                    "COCO to val", "AP_trainCOCO_testOCHval", "coco", "coco:train", "ochuman:val",
                ),
                (
                    "COCO to test", "AP_trainCOCO_testOCHtest", "coco",
                    "coco:train", "ochuman:test",
                ),
            )
        ),
    ),
    *(
        Study(
            name, "F2", _RELEASED, "width of the backbone and size of the input",
            base=f"dekr_hrnet_w32_{dataset}", dataset=dataset,
            variants=(
                Variant("W32, 512"),
                Variant("W48, 640", recipe=f"dekr_hrnet_w48_{dataset}", tiny=_W48_TINY),
            ),
            expected=(("W32, 512", "W48, 640"),),
        )
        for name, dataset in (("dekr/backbone", "coco"), ("dekr/backbone_crowdpose", "crowdpose"))
    ),
    *(
        Study(
            name, "F3", _RELEASED, "several scales at test time, and matching to peaks",
            base=f"dekr_hrnet_w32_{dataset}", dataset=dataset,
            variants=(
                Variant("one scale", test=(_UNMATCHED,)),
                Variant("three scales", test=(*_SCALES, _UNMATCHED)),
                Variant("three scales, matched", test=(*_SCALES, "match_peaks=true")),
            ),
            expected=(
                ("one scale", "three scales"), ("three scales", "three scales, matched"),
            ),
        )
        for name, dataset in (("dekr/scales", "coco"), ("dekr/scales_crowdpose", "crowdpose"))
    ),
)  # fmt: skip
