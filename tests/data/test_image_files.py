"""Image files: read as the published loaders do, and told apart from what is none."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, features

from posebench.data.image_files import (
    count_frames,
    find_images,
    fit_size,
    is_moving,
    read_image,
    read_orientation,
    read_size,
)
from posebench.errors import DataError


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    """Return noise, which no format packs into a few bytes, with a red first row."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image[0] = (255, 0, 0)
    return image


def write(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


def test_a_png_is_read_as_rgb(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(write(tmp_path / "x.png", picture())), picture())


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    grey = picture()[..., 0]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    found = read_image(tmp_path / "grey.png")
    np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, axis=2))
    bgra = np.dstack([picture()[..., ::-1], grey])
    cv2.imwrite(str(tmp_path / "transparent.png"), bgra)
    np.testing.assert_array_equal(read_image(tmp_path / "transparent.png"), picture())


def test_the_content_counts_and_not_the_suffix(tmp_path: Path) -> None:
    path = write(tmp_path / "x.png", picture()).rename(tmp_path / "x.jpg")
    np.testing.assert_array_equal(read_image(path), picture())


def test_a_turned_jpeg_is_read_as_it_is_stored(tmp_path: Path) -> None:
    image = Image.fromarray(picture())
    plain, turned = tmp_path / "plain.jpg", tmp_path / "turned.jpg"
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees when shown
    image.save(plain, quality=95)
    image.save(turned, quality=95, exif=exif)
    by_opencv = cv2.imread(str(turned))
    assert by_opencv is not None
    assert by_opencv.shape == (60, 40, 3)  # turned, its default
    np.testing.assert_array_equal(read_image(turned), read_image(plain))
    assert read_image(turned).shape == (40, 60, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("part", [0.5, 0.9, 0.999])
def test_a_truncated_picture_is_told(tmp_path: Path, suffix: str, part: float) -> None:
    path = write(tmp_path / f"x.{suffix}", picture())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(DataError, match=rf"x\.{suffix} is cut short"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("size", [3, 20, 60])
def test_a_picture_cut_in_its_header_is_told(tmp_path: Path, suffix: str, size: int) -> None:
    path = write(tmp_path / f"x.{suffix}", picture())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=rf"x\.{suffix}"):
        read_image(path)


def test_a_thumbnails_end_is_not_taken_for_the_pictures(tmp_path: Path) -> None:
    thumbnail = write(tmp_path / "small.jpg", picture(8, 8)).read_bytes()
    path = write(tmp_path / "x.jpg", picture())
    plain = path.read_bytes()
    # An application segment behind the start of image: marker, length, content.
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = plain[:2] + segment + plain[2:]
    path.write_bytes(whole)
    assert read_image(path).shape == (40, 60, 3)
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="cut short"):
        read_image(path)


def test_a_progressive_jpeg_is_read_whole_and_told_when_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    cv2.imwrite(str(path), picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert read_image(path).shape == (40, 60, 3)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match="cut short"):
        read_image(path)


@pytest.mark.parametrize("content", [b"no image", b"\xff\xd8\xff", b"<html></html>", b"\0" * 99])
def test_a_file_that_is_no_image_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.jpg is not an image that can be decoded"):
        read_image(path)


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").touch()
    with pytest.raises(DataError, match=r"x\.jpg is empty"):
        read_image(tmp_path / "x.jpg")


@pytest.mark.parametrize("side", [14_000, 100_000])
def test_a_header_that_claims_too_many_pixels_is_told(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path = tmp_path / "x.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(DataError, match=r"x\.png claims more than 178 million pixels"):
        read_image(path)


def test_a_picture_of_a_hundred_million_pixels_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.new("L", (12_000, 9_000), 77).save(path)
    found = read_image(path)
    assert found.shape == (9_000, 12_000, 3)
    assert found[::999, ::999].min() == found[::999, ::999].max() == 77


@pytest.mark.parametrize("shape", [(1, 21), (2100, 100)])
def test_a_picture_too_thin_for_a_network_is_told(tmp_path: Path, shape: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="longer than 20 times"):
        read_image(write(tmp_path / "x.png", picture(*shape)))
    assert read_image(write(tmp_path / "y.png", picture(1, 20))).shape == (1, 20, 3)


def test_a_printers_jpeg_is_read_in_its_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=95)
    red, green, blue = read_image(tmp_path / "red.jpg")[8, 8].astype(int).tolist()
    assert red > 200
    assert green < 60
    assert blue < 60


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = picture().astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    found = read_image(tmp_path / "deep.png").astype(int)
    assert np.abs(found - picture()).max() <= 1


def test_any_name_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "ein Ordner mit Wörtern – 写真"
    folder.mkdir()
    plain = write(tmp_path / "x.png", picture())
    odd = folder / "Bild [1] 人.png"
    odd.write_bytes(plain.read_bytes())
    np.testing.assert_array_equal(read_image(odd), picture())
    assert find_images(folder) == [odd]


def test_an_absent_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        read_image(tmp_path / "x.jpg")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)


def test_images_of_a_folder_come_in_order_of_name(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", "c.jpeg"):
        (tmp_path / name).touch()
    assert [path.name for path in find_images(tmp_path)] == ["a.png", "b.JPG", "c.jpeg"]
    assert find_images(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_a_place_without_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no images"):
        find_images(tmp_path)
    with pytest.raises(DataError, match="nothing is there"):
        find_images(tmp_path / "absent")


SIXTEEN = [(2**10, 4), (2**12, 16), (2**14, 64), (2**16, 256)]


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm"])
@pytest.mark.parametrize(("levels", "step"), SIXTEEN)
def test_the_bits_in_use_become_eight(tmp_path: Path, suffix: str, levels: int, step: int) -> None:
    """A camera's 10, 12 or 14 bits in 16 are as bright as 16."""
    eight = np.linspace(0, 255, 60 * 40).astype(np.uint8).reshape(40, 60)
    deep = np.repeat((eight.astype(np.uint16) * step)[..., None], 3, axis=2)
    assert deep.max() < levels
    path = tmp_path / f"x.{suffix}"
    assert cv2.imwrite(str(path), deep)
    assert np.abs(read_image(path).astype(int) - eight[..., None]).max() <= 1


def test_transparency_does_not_count_as_bits_in_use(tmp_path: Path) -> None:
    deep = np.full((20, 20, 4), 4000, np.uint16)
    deep[..., 3] = 65535
    cv2.imwrite(str(tmp_path / "x.png"), deep)
    assert (read_image(tmp_path / "x.png") == 250).all()


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_a_picture_of_floats_is_read(tmp_path: Path, top: float) -> None:
    grey = picture()[..., 0]
    values = (grey / 255 * top).astype(np.float32)
    values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "x.tif")
    found = read_image(tmp_path / "x.tif").astype(int)
    assert found.shape == (40, 60, 3)
    assert np.abs(found[1:] - grey[1:, :, None]).max() <= 1
    assert (found[0, 0] == 0).all()


def test_whole_numbers_of_32_bits_are_read(tmp_path: Path) -> None:
    Image.fromarray(picture()[..., 0].astype(np.int32)).save(tmp_path / "x.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif")[..., 1], picture()[..., 0])


@pytest.mark.parametrize(
    ("suffix", "kind", "mode"),
    [
        ("jfif", "JPEG", "RGB"), ("tif", "TIFF", "CMYK"), ("tiff", "TIFF", "P"),
        ("gif", "GIF", "P"), ("png", "PNG", "P"), ("png", "PNG", "1"), ("png", "PNG", "LA"),
        ("bmp", "BMP", "RGB"), ("webp", "WEBP", "RGBA"), ("jp2", "JPEG2000", "RGB"),
        ("tga", "TGA", "RGB"), ("pcx", "PCX", "RGB"), ("sgi", "SGI", "L"), ("ico", "ICO", "RGB"),
        ("ppm", "PPM", "RGB"), ("pbm", "PPM", "1"), ("avif", "AVIF", "RGB"),
    ],
)  # fmt: skip
def test_a_format_is_read_alone_and_in_a_folder(
    tmp_path: Path, suffix: str, kind: str, mode: str
) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    smooth = cv2.resize(picture(4, 6), (60, 40), interpolation=cv2.INTER_CUBIC)
    image = Image.fromarray(smooth).convert(mode)
    path = tmp_path / f"100% ä.{suffix.upper()}"
    image.save(path, kind)
    expected = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert np.abs(read_image(path).astype(int) - expected).mean() < 3
    assert find_images(tmp_path) == [path]


def test_a_heic_file_says_how_to_convert_it(tmp_path: Path) -> None:
    path = tmp_path / "x.heic"
    path.write_bytes(struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + b"\0" * 99)
    with pytest.raises(DataError, match=r"x\.heic is in the HEIC format.*convert it to JPEG"):
        read_image(path)


# ------------------------------------------------------------------------------------------- EXIF


def turned(path: Path, orientation: int) -> Path:
    """Write a picture with an EXIF orientation; as it is stored, it is 60 x 40."""
    smooth = cv2.resize(picture(4, 6), (60, 40), interpolation=cv2.INTER_CUBIC)
    image = Image.fromarray(smooth)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright_on_request(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    path = turned(tmp_path / f"x.{suffix}", orientation)
    upright = ImageOps.exif_transpose(Image.open(path))
    found = read_image(path, upright=True)
    assert found.shape[1::-1] == read_size(path, upright=True) == upright.size
    assert np.abs(found.astype(int) - np.asarray(upright.convert("RGB"))).mean() < 3
    stored = read_image(path)
    assert stored.shape[1::-1] == read_size(path)
    if suffix != "tif":  # whose decoders turn it in any case
        assert stored.shape == (40, 60, 3)


def test_three_ways_to_have_other_sides_are_told_apart(tmp_path: Path) -> None:
    plain, phone = turned(tmp_path / "plain.jpg", 1), turned(tmp_path / "phone.jpg", 6)
    upside_down = turned(tmp_path / "down.jpg", 3)
    assert fit_size(phone, (60, 40), (60, 40)) == "equal"
    assert fit_size(phone, (60, 40), (40, 60)) == "turned by EXIF"
    assert fit_size(plain, (60, 40), (40, 60)) == "swapped"
    assert fit_size(upside_down, (60, 40), (40, 60)) == "swapped"
    assert fit_size(phone, (60, 40), (30, 60)) == "other"
    assert [read_orientation(p) for p in (plain, phone, upside_down)] == [1, 6, 3]
    assert read_orientation(tmp_path / "absent.jpg") == 1


def test_frames_and_pages_are_counted(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.roll(picture(), n, 0)) for n in range(3)]
    for name in ("x.gif", "x.webp", "x.tif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        assert count_frames(tmp_path / name) == 3
        assert is_moving(tmp_path / name) == (name != "x.tif")
        assert read_image(tmp_path / name).shape == (40, 60, 3)
    pages[0].save(tmp_path / "still.gif")
    assert count_frames(tmp_path / "still.gif") == 1
    assert not is_moving(tmp_path / "still.gif")
    assert not is_moving(tmp_path / "absent.gif")
    assert count_frames(tmp_path / "absent.gif") == 1
