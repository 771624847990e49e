"""Images through Pillow, as arrays of height x width x channels and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import Failure, reason
from .files import open_input

Array = NDArray[Any]

ADD = "python -m pip install pillow"
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm")
KEPT = ("L", "LA", "RGB", "RGBA", "F", "I", "I;16", "I;16B", "I;16L", "I;16N")
MODES = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
MODES |= {"LAB": "RGB", "HSV": "RGB", "RGBX": "RGB"}
QUALITY = 95  # of JPEG and WebP: the result is to be looked at, and it is small


def is_image(path: Path) -> bool:
    """Whether the file's name is that of an image."""
    return path.suffix.lower() in SUFFIXES


def pillow(path: Path) -> Any:
    """The module Image, or a failure that names what installs it."""
    try:
        from PIL import Image
    except ImportError:
        raise Failure(f"{path}: images need Pillow: {ADD}") from None
    Image.MAX_IMAGE_PIXELS = None  # whoever names a file means it, however large
    return Image


@dataclass(frozen=True)
class Picture:
    """Pixels, and the colour profile that they are meant for."""

    pixels: Array
    profile: bytes | None


def read(path: Path) -> Picture:
    """The image as it is looked at: turned as its camera says, a palette as the colours that it stands for."""
    with open_input(path) as file:
        image_of = pillow(path)
        from PIL import ImageOps

        try:
            with image_of.open(file) as image:
                if getattr(image, "n_frames", 1) > 1:
                    raise Failure(f"{path}: holds {image.n_frames} images; one is needed")
                _refuse_lost_bits(path, image)
                image.load()
                turned = ImageOps.exif_transpose(image)
        except image_of.UnidentifiedImageError:
            raise Failure(f"{path}: no image that Pillow knows") from None
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise Failure(f"{path}: damaged, or cut off: {reason(error)}") from None
    mode = turned.mode
    if mode not in KEPT:
        wanted = MODES.get(mode)
        if wanted is None:
            raise Failure(f"{path}: an image of mode {mode} is not supported")
        if mode == "P" and "transparency" in turned.info:
            wanted = "RGBA"
        turned = turned.convert(wanted)
    kept = turned.mode == mode
    return Picture(np.asarray(turned), turned.info.get("icc_profile") if kept else None)


def _refuse_lost_bits(path: Path, image: Any) -> None:
    """Colours of 16 bits are read by Pillow as 8."""
    raw = image.tile[0][3] if image.tile else ""
    name = raw[0] if isinstance(raw, tuple) and raw else raw
    if isinstance(name, str) and ";16" in name and image.mode in ("RGB", "RGBA", "LA"):
        raise Failure(f"{path}: has 16 bits for each colour, of which Pillow reads 8: convert it to .npy")


def write(path: Path, file: BinaryIO, picture: Picture) -> None:
    """The pixels in the format that the file's name says."""
    image_of = pillow(path)
    pixels = np.ascontiguousarray(picture.pixels)
    kind = image_of.registered_extensions()[path.suffix.lower()]
    shades = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (2, 3, 4))
    wide = pixels.ndim == 2 and pixels.dtype in (np.uint16, np.int32, np.float32)
    if not pixels.size or not shades or not (pixels.dtype == np.uint8 or wide):
        raise Failure(
            f"{path}: {pixels.dtype} of shape {pixels.shape} is no image: uint8 with up to 4 channels is one, or one "
            "channel of uint16, int32 or float32; --dtype uint8 rounds averages, and .npy holds everything"
        )
    if wide and pixels.dtype != np.uint16 and kind != "TIFF":
        raise Failure(f"{path}: {kind} holds no {pixels.dtype}; .tiff and .npy do")
    options: dict[str, Any] = {"quality": QUALITY} if kind in ("JPEG", "WEBP") else {}
    if picture.profile is not None:
        options["icc_profile"] = picture.profile
    try:
        image_of.fromarray(pixels).save(file, format=kind, **options)
    except (ValueError, OSError, KeyError) as error:
        raise Failure(f"{path}: {reason(error)}") from None
