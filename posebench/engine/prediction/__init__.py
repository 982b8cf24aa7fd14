"""Predictions of frames as a stream: in batches, with tracks, into files that can be continued."""

from posebench.engine.prediction.formats import check_format
from posebench.engine.prediction.output import (
    PredictionFile,
    check_unused,
    is_unfinished,
    read_progress,
)
from posebench.engine.prediction.stream import (
    FramePrediction,
    predict_batch,
    predict_frames,
    predict_stream,
)
from posebench.engine.prediction.tracks import Tracks

__all__ = [
    "FramePrediction",
    "PredictionFile",
    "Tracks",
    "check_format",
    "check_unused",
    "is_unfinished",
    "predict_batch",
    "predict_frames",
    "predict_stream",
    "read_progress",
]
