"""PoseDet's ablations, in the order of the paper's tables."""

from __future__ import annotations

from typing import Any

from posebench.studies import Study, Variant

_CROWDPOSE_STUDY: dict[str, Any] = {
    "base": "posedet_hrnet_w48_crowdpose",
    "dataset": "crowdpose",
    "train_split": "train",
}
# Sec. 4.1: short sides of 300 to 800 px in steps of 100, divided by the recipe's short side.
_SIX_SCALES = ("inference.flip=true", "inference.scales=[0.47,0.625,0.78,0.94,1.09,1.25]")
_SIX_SCALES_OF_512 = ("inference.flip=true", "inference.scales=[0.59,0.78,0.98,1.17,1.37,1.56]")
_NMS = {"iou": "IoU", "oks": "OKS"}
_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)

STUDIES = (
    Study(
        "posedet/refinement", "B1", "posedet_table04", "refinement through the pose embedding",
        **_CROWDPOSE_STUDY,
        variants=(
            # The paper does not say which of the first two it calls unrefined.
            Variant("coarse, trained without", 1, ("refinement=false",)),
            Variant("coarse, read before", 1, test=("read_coarse=true",)),
            Variant("refined", 2),
        ),
    ),
    Study(
        "posedet/grid", "B2", "posedet_table05",
        "definition of a person's centre, similarity in suppression, intermediate supervision",
        **_CROWDPOSE_STUDY, column="APM_crowd",
        variants=tuple(
            Variant(
                f"{centroid}, {_NMS[nms]}" + ", supervised" * supervised,
                1 + 4 * (centroid == "keypoints") + 2 * (nms == "oks") + supervised,
                (f"centroid={centroid}",) + ("intermediate_supervision=false",) * (not supervised),
                (f"nms={nms}",),
            )
            for centroid in ("box", "keypoints")
            for nms in _NMS
            for supervised in (False, True)
        ),
    ),
    Study(
        "posedet/suppression", "B3", "Figure 3", "suppression of perfect poses by OKS and by IoU",
        **_CROWDPOSE_STUDY, ideal=True,
        variants=tuple(
            Variant(
                f"{_NMS[nms]} {threshold}", test=(f"nms={nms}", f"nms_threshold={threshold}"),
                tested_on="crowdpose:test",
            )
            for nms in _NMS
            for threshold in _THRESHOLDS
        ),
        # At the last threshold neither removes anybody.
        expected=tuple((f"IoU {t}", f"OKS {t}") for t in _THRESHOLDS[:-1]),
    ),
    Study(
        "posedet/backbone", "B4", "posedet_table01", "backbone and input size",
        base="posedet_hrnet_w48_coco",
        variants=(
            Variant("W48, 640", 6, tiny=(
                "backbone=hrnet_tiny_36", "inference.resize.short_side=240",
                "inference.resize.long_side=480", "augment.size=192",
            )),
            Variant("W32, 512", 7, recipe="posedet_hrnet_w32_coco", tiny=()),
            Variant("DLA-34, 512", 8, recipe="posedet_dla34_coco", tiny=("backbone=dla34",)),
        ),
    ),
    Study(
        "posedet/inference", "B5", "posedet_table02", "six scales and flip at test time",
        base="posedet_hrnet_w48_coco",
        variants=(
            Variant("W48, once", 6, table="posedet_table01", tiny=("backbone=hrnet_tiny_36",)),
            Variant(
                "W48, six scales, mirrored", 6, test=_SIX_SCALES, tiny=("backbone=hrnet_tiny_36",)
            ),
            Variant(
                "W32, once", 7, recipe="posedet_hrnet_w32_coco", table="posedet_table01", tiny=()
            ),
            Variant(
                "W32, six scales, mirrored", 7, recipe="posedet_hrnet_w32_coco", tiny=(),
                test=_SIX_SCALES_OF_512, tiny_test=_SIX_SCALES,
            ),
        ),
    ),
    Study(
        "posedet/time", "B6", "Sec. 4.3", "latency against the number of people",
        command="posebench speed --models posedet --people 1,5,20,50",
    ),
    Study(
        "posedet/poses", "B7", "Figure 5", "coarse and refined poses",
        command="posebench viz IMAGE --heatmaps --model RUN (maps show the coarse keypoints, "
        "skeletons the refined ones)",
    ),
)  # fmt: skip
