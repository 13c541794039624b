"""Masks that were kept as JPEG: compression leaves ringing beside every edge, which would count as half known."""

from __future__ import annotations

import io

from PIL import Image, ImageChops
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

HALF = 128


def before_compression(image: Image.Image) -> Image.Image | None:
    """The black and white picture that a JPEG file was made of; None where it was made of another one.

    There is no threshold in this: compressed again, with the file's own quantisation, that picture must give the
    file's pixels back, every one. A mask with greys of its own does not, and neither does another compressor's file
    that was not made by rounding; those stay as they are.

    Args:
        image: any of Pillow's, as it was opened.

    Returns:
        8-bit greys that are 0 or 255, with the file's metadata.
    """
    if not isinstance(image, JpegImageFile) or image.mode not in ("L", "RGB"):
        return None
    drawn = image.convert("L").point([0] * HALF + [255] * HALF)
    if not _gives(drawn, image):
        return None
    drawn.info = dict(image.info)  # it says which side is up
    return drawn


def _gives(drawn: Image.Image, file: JpegImageFile) -> bool:
    """Whether a picture, compressed as the file was, has the file's pixels."""
    buffer = io.BytesIO()
    sampling = {} if file.mode == "L" else {"subsampling": get_sampling(file)}
    try:
        drawn.convert(file.mode).save(buffer, "jpeg", qtables=file.quantization, **sampling)
    except (OSError, TypeError, ValueError):  # tables that Pillow reads and does not write
        return False
    with Image.open(buffer) as again:
        return ImageChops.difference(again, file).getbbox() is None
