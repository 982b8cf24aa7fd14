"""People who keep their number from frame to frame.

`tracker` continues the people of the frames before by where they should be now, `smoothing` takes
the jitter out of their keypoints.
"""

from posebench.tracking.smoothing import OneEuro, OneEuroSettings
from posebench.tracking.tracker import Tracker, TrackerSettings

__all__ = ["OneEuro", "OneEuroSettings", "Tracker", "TrackerSettings"]
