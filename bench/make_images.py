"""Writes the folder Hub that the image benchmark reads: 200 JPEG photographs of about 1 MB, 200 PNGs of about 1 MB.

The pictures are smooth colour gradients with soft noise at several scales, so that they compress as photographs do.

Usage: make_images.py FOLDER      (needs Pillow and numpy)
Contents are pseudo-random from a fixed seed, so every run writes the same pixels.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

COUNT = 200


def photograph(rng, width, height):
    """Noise at several scales on a gradient: each scale is half as strong per octave, as in nature."""
    picture = np.zeros((height, width, 3), np.float32)
    for octave in range(8):
        cells = 2 ** (octave + 1)
        small = rng.random((3, cells * height // width + 2, cells + 2), np.float32)
        layers = [Image.fromarray(layer).resize((width, height), Image.Resampling.BICUBIC) for layer in small]
        picture += np.stack([np.asarray(layer) for layer in layers], -1) * 160 * 0.6**octave
    picture += rng.normal(0, 4, picture.shape[:2])[..., None]
    return Image.fromarray(np.clip(picture - picture.mean() + 128, 0, 255).astype(np.uint8))


def jpeg(image, quality=92):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def png(image):
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def write(folder, extension, encode, width, height):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    base = [photograph(rng, width, height) for _ in range(10)]
    sizes = []
    for index in range(COUNT):
        # Each file is a picture of its own: another part of the picture, mirrored or not.
        shifted = Image.fromarray(np.roll(np.asarray(base[index % 10]), 37 * (index // 10), axis=(0, 1)))
        data = encode(shifted)
        sizes.append(len(data))
        (folder / f"{index:03}.{extension}").write_bytes(data)
    print(f"{folder.name}: {COUNT} files of {width} x {height}, {sum(sizes) // COUNT:,} bytes each")


def main():
    hub = Path(sys.argv[1]) / "bench"
    write(hub / "jpeg-1mb", "jpg", jpeg, 2400, 1600)
    write(hub / "png-1mb", "png", png, 920, 690)


if __name__ == "__main__":
    main()
