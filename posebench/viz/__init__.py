"""Drawing and figures: functions that return uint8 RGB images."""

from posebench.viz.draw import RGB, draw_annotations, draw_poses
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
