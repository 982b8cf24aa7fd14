"""Drawing and figures: functions that return uint8 RGB images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posebench._lazy import lazy_names

if TYPE_CHECKING:
    from posebench.viz.colours import RGB
    from posebench.viz.draw import draw_annotations, draw_poses
    from posebench.viz.figures import (
        gallery,
        heatmap_overlay,
        instance_figure,
        steps_figure,
        training_curve,
        write_image,
    )
    from posebench.viz.legend import with_legend
    from posebench.viz.plots_speed import people_plot, stages_plot
    from posebench.viz.samples import Drawing, draw_curve, draw_gallery, draw_sample, draw_steps
    from posebench.viz.video import write_video

__all__ = [
    "RGB",
    "Drawing",
    "draw_annotations",
    "draw_curve",
    "draw_gallery",
    "draw_poses",
    "draw_sample",
    "draw_steps",
    "gallery",
    "heatmap_overlay",
    "instance_figure",
    "people_plot",
    "stages_plot",
    "steps_figure",
    "training_curve",
    "with_legend",
    "write_image",
    "write_video",
]

__getattr__ = lazy_names(
    __name__,
    colours=("RGB",),
    draw=("draw_annotations", "draw_poses"),
    figures=(
        "gallery",
        "heatmap_overlay",
        "instance_figure",
        "steps_figure",
        "training_curve",
        "write_image",
    ),
    legend=("with_legend",),
    plots_speed=("people_plot", "stages_plot"),
    samples=("Drawing", "draw_curve", "draw_gallery", "draw_sample", "draw_steps"),
    video=("write_video",),
)
