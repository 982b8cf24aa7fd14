"""Pictures within a page: made small, and as JPEG in the text of the page itself."""

from __future__ import annotations

import base64

import cv2

from posebench.viz.colours import RGB

LONG_SIDE = 480  # pixels of an embedded picture
_QUALITY = 72  # of JPEG; poses are drawn over it as sharp lines


def embedded(picture: RGB, long_side: int = LONG_SIDE) -> str:
    """Return a picture as a data URL, at most this many pixels long."""
    share = min(1.0, long_side / max(picture.shape[:2]))
    if share < 1:
        size = (max(round(share * picture.shape[1]), 1), max(round(share * picture.shape[0]), 1))
        # The mean over the pixels that become one: others leave out lines.
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
