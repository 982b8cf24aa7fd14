"""Find the score from which on a method's people are drawn: that of the best F1.

    python benchmarks/drawing_threshold.py RUN ... [--images 500] [--dataset synthetic]

RUN is a run folder, a checkpoint or a recipe with weights. For each, the first images of the
validation split are predicted as `posebench eval` does, people and poses are matched at OKS 0.5,
and F1 is computed for every threshold. Prints the best threshold, its precision, recall and F1, the
range of thresholds that lose at most 0.01 of F1, and the F1 at the recipe's `draw_score`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import posebench
from posebench.data.loader import Unreadable
from posebench.engine.evaluation import predict_dataset
from posebench.metrics.resampling import matches
from posebench.metrics.thresholds import F1Curve, f1_curve

LOSS = 0.01  # of F1, for the range that is printed


def curve_of(model: posebench.Model, dataset: str, images: int, root: Path | None) -> F1Curve:
    """Return the F1 of a model by threshold."""
    data = posebench.open_dataset(dataset, data_root=root, skeleton=model.skeleton)
    chosen = range(min(images, len(data)))
    results, seen = [], []
    stream = predict_dataset(model.network, data, list(chosen), model.inference, batch_size=8)
    for index, item in zip(chosen, stream, strict=True):
        if not isinstance(item, Unreadable):
            sample, people = item
            results += people.to_coco(sample.image_id)
            seen.append(index)
    truth = data.ground_truth().select_images(seen)
    return f1_curve(matches(truth, results, data.protocol))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="RUN")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--data-root", type=Path)
    options = parser.parse_args()
    print(
        "recipe                     best  precision  recall     F1  within 0.01   draw_score     F1"
    )
    for name in options.models:
        model = posebench.load_model(name, device="cpu")
        curve = curve_of(model, options.dataset, options.images, options.data_root)
        best, own = curve.best, model.recipe.draw_score
        low, high = curve.within(LOSS)
        # The first threshold that keeps all detections that score at least `draw_score`.
        at = min(int(np.searchsorted(-curve.scores, -own)), len(curve.scores) - 1)
        print(
            f"{model.recipe.name:25s} {curve.scores[best]:5.3f} {curve.precision[best]:10.3f} "
            f"{curve.recall[best]:7.3f} {curve.f1[best]:6.3f}  {low:.3f}-{high:.3f} "
            f"{own:12.2f} {curve.f1[at]:6.3f}"
        )


if __name__ == "__main__":
    main()
