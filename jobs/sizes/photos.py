"""A folder of photographs as people have them: odd sizes, upright and wide, turned by EXIF only, with small holes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

NAMES = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina", "ihc", "motorcycle_left")
ROTATED = 6  # EXIF's word for a picture that is stored a quarter turn to the left


def photographs() -> list[Image.Image]:
    """Those that come with scikit-image and scikit-learn."""
    import skimage
    import sklearn.datasets

    folder = Path(skimage.__file__).parent / "data"
    files = [path for name in NAMES for path in sorted(folder.glob(f"{name}.*"))]
    files += sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))
    return [Image.open(path).convert("RGB") for path in files]


def write_folder(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Write ``count`` pictures ``NAME.jpg`` or ``.png``, each with ``NAME.mask.png``.

    Every fourth is turned by EXIF.
    """
    folder.mkdir(parents=True)
    sources = photographs()
    for number in range(count):
        picture = _part(sources[number % len(sources)], rng)
        mask = _holes(picture.size, rng)
        name = f"p{number:02d}"
        if number % 4 == 3:
            exif = Image.Exif()
            exif[0x0112] = ROTATED
            picture.transpose(Image.Transpose.ROTATE_90).save(folder / f"{name}.jpg", quality=95, exif=exif)
        elif number % 4 == 2:
            picture.save(folder / f"{name}.jpg", quality=90)
        else:
            picture.save(folder / f"{name}.png")
        mask.save(folder / f"{name}.mask.png")


def _part(source: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A part of a photograph of any shape, its longer side 150 to 900 pixels."""
    shape = float(np.exp(rng.uniform(np.log(0.5), np.log(2))))
    width = int(min(source.width, source.height * shape) * rng.uniform(0.6, 1))
    height = min(source.height, int(width / shape))
    left, top = rng.integers(0, source.width - width + 1), rng.integers(0, source.height - height + 1)
    scale = min(900, max(width, height)) * rng.uniform(0.6, 1) / max(width, height)
    size = max(40, round(width * scale)), max(40, round(height * scale))
    return source.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.LANCZOS)


def _holes(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """One to three ellipses of 8 to 60 pixels."""
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    for _ in range(int(rng.integers(1, 4))):
        x, y = (int(rng.integers(0, side)) for side in size)
        a, b = (int(rng.integers(4, min(30, side // 4 + 5))) for side in size)
        draw.ellipse((x - a, y - b, x + a, y + b), fill=255)
    return mask
