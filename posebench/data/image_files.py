"""Reading image files as the published loaders do, and saying what is wrong with a bad one."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from posebench.errors import DataError

# Pillow warns of large images below the limit at which it refuses them.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# A network scales the short side to its own size, so that what is longer and thinner than this
# would not fit the memory; it is no photograph.
MAX_ASPECT = 20

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return the (H, W, 3) RGB pixels of a file; its EXIF orientation is ignored, as published.

    Raises:
        DataError: the file is absent, cut short, not an image, too large or too thin.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"The image {path} is not there.") from None
    except OSError as error:
        raise DataError(f"The image {path} cannot be read: {error.strerror}.") from None
    if not data:
        raise DataError(f"The image {path} is empty: copy or download it again.")
    # OpenCV paints the missing part of a truncated picture grey and says nothing.
    if _is_truncated(data):
        raise DataError(f"The image {path} is cut short: copy or download it again.")
    if _is_bomb(data):
        raise DataError(
            f"The image {path} claims more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} "
            "million pixels, which would fill the memory: make it smaller."
        )
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # its header claims more pixels than OpenCV accepts
        image = None
    if image is None:
        raise DataError(f"The file {path} is not an image that can be decoded.")
    height, width = image.shape[:2]
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise DataError(
            f"The image {path} is {width} x {height}, longer than {MAX_ASPECT} times its other "
            "side: cut it to where the people are."
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image from its header, as `read_image` would show it.

    Raises:
        DataError: the file is absent, or no image.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise DataError(f"The image {path} is not there.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"The file {path} is not an image that can be decoded.") from error


def find_images(path: Path) -> list[Path]:
    """Return an image file, or the images of a folder in order of name.

    Raises:
        DataError: there is nothing there, or no image in it.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"Expected an image or a folder of images at {path}: nothing is there.")
    images = sorted(child for child in path.iterdir() if child.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise DataError(
            f"The folder {path} has no images: expected files that end in "
            f"{', '.join(IMAGE_SUFFIXES)}."
        )
    return images


def _is_bomb(data: bytes) -> bool:
    """Return whether a header claims more pixels than anyone means to decode."""
    try:
        # OpenCV has a limit too, but of three gigabytes. Pillow reads no more than the header here.
        Image.open(io.BytesIO(data)).close()
    except Image.DecompressionBombError:
        return True
    except (OSError, ValueError, SyntaxError):
        return False  # OpenCV has the last word on what is an image
    return False


def _is_truncated(data: bytes) -> bool:
    if data.startswith(b"\xff\xd8"):
        # In a JPEG's coded data 0xff is never followed by 0xd9, so an end marker behind the last
        # start of scan is a real one; a thumbnail's lies before it.
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-64:]
    return False
