"""Small images and films, and a predictor that finds people in them without a network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from posebench.engine import Predictor
from posebench.viz import write_video

SIZE = (48, 64)  # height, width


def picture(number: int) -> NDArray[np.uint8]:
    """Return a picture whose brightness tells its number, up to 20."""
    return np.full((*SIZE, 3), 20 + 10 * number, np.uint8)


def number_of(image: NDArray[np.uint8]) -> int:
    return round((float(image.mean()) - 20) / 10)


def film(path: Path, frames: int = 20, fps: float = 10) -> Path:
    """Write a film whose frames are the pictures from 0 on."""
    with write_video(path, fps) as file:
        for number in range(frames):
            file.write(picture(number % 20))
    return path


def photo(path: Path, number: int, orientation: int = 1) -> Path:
    """Write a picture as a file, with an EXIF orientation."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(number)).save(path, exif=exif, quality=95)
    return path


def seer(calls: list[int] | None = None) -> Predictor:
    """Return a predictor that finds a person at (number, 2 number) and an unlikely one beside.

    Args:
        calls: to which the number of images of each call is added.
    """

    def people(images: list[NDArray[np.uint8]]) -> list[tuple[Any, Any]]:
        if calls is not None:
            calls.append(len(images))
        shape = np.random.default_rng(0).uniform(0, 30, (17, 2))
        return [
            (np.stack([shape + np.array([number, 2 * number]), shape + 100]), [0.75, 0.05])
            for number in map(number_of, images)
        ]

    return Predictor(people, name="seer", draw_score=0.3)


def jpeg(number: int) -> bytes:
    done, content = cv2.imencode(".jpg", picture(number))
    assert done
    return content.tobytes()


@contextmanager
def served(connections: list[int], content: bytes = b"") -> Iterator[str]:
    """Serve so many pictures to each connection, and refuse further ones; or a file."""
    left = list(connections)
    counted = iter(range(100))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if content:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                return
            if not left:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for _ in range(left.pop(0)):
                picture = jpeg(next(counted))
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}"
                self.wfile.write(head.encode() + b"\r\n\r\n" + picture + b"\r\n")

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/x"
    finally:
        server.shutdown()
        server.server_close()
