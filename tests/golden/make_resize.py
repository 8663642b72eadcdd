"""Golden images for `crates/tl-data/tests/resize.rs`: what Pillow and torchvision make of them.

    pip install pillow numpy                       # made with Pillow 13.0
    python3 tests/golden/make_resize.py

For each source size a synthetic RGB image, and for each case the bytes of `Resize` + `CenterCrop`, or of
`resized_crop`, on a Pillow image: raw RGB, rows from the top. `resize.json` lists the cases. Pillow does the
pixels; the rules for sizes and offsets are those of torchvision 0.26, `transforms/functional.py`, written out
below so that no torch is needed.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

OUT = Path(__file__).parents[2] / "crates/tl-data/tests/data"
MODES = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def resize(image, short_side, mode):
    """`resize` with one number: `_compute_resized_output_size`, then Pillow."""
    w, h = image.size
    short, long = (w, h) if w <= h else (h, w)
    new_short, new_long = short_side, int(short_side * long / short)
    size = (new_short, new_long) if w <= h else (new_long, new_short)
    return image if size == image.size else image.resize(size, mode)


def center_crop(image, side):
    """`center_crop`: black around what is too small, then the middle."""
    w, h = image.size
    if side > w or side > h:
        left = (side - w) // 2 if side > w else 0
        top = (side - h) // 2 if side > h else 0
        padded = Image.new("RGB", (max(w, side), max(h, side)))
        padded.paste(image, (left, top))
        image, (w, h) = padded, padded.size
    top = int(round((h - side) / 2.0))
    left = int(round((w - side) / 2.0))
    return image.crop((left, top, left + side, top + side))


def resized_crop(image, x, y, w, h, side, mode):
    """`resized_crop`: first the crop, then the resize, so nothing outside of the window counts."""
    return image.crop((x, y, x + w, y + h)).resize((side, side), mode)


def source(width, height):
    """Smooth ramps, hard edges and noise, so that every filter shows."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width))
    red = (x * 255 // max(width - 1, 1) + y * 37) % 256
    green = np.where((x // 3 + y // 5) % 2 == 0, 250, 5)
    return Image.fromarray(np.stack([red, green, noise], axis=-1).astype(np.uint8))


# (width, height), resize, input, filters
EVAL = [
    ((37, 61), 32, 28, ["nearest", "bilinear", "bicubic"]),
    ((61, 37), 32, 28, ["nearest", "bilinear", "bicubic"]),
    ((50, 37), 37, 28, ["bilinear", "bicubic"]),  # the size it has: only a crop
    ((9, 14), 32, 28, ["nearest", "bilinear", "bicubic"]),  # enlarged
    ((100, 75), 30, 29, ["bilinear", "bicubic"]),  # odd differences: halves are rounded
    ((40, 90), 20, 33, ["bilinear", "bicubic"]),  # smaller than the crop on one side: black beside it
    ((31, 30), 15, 24, ["bilinear"]),  # on both sides
    ((1, 1), 32, 28, ["bilinear", "bicubic"]),
    ((3, 200), 6, 5, ["bilinear", "bicubic"]),
    ((40, 90), 80, 64, ["bicubic"]),  # tall, enlarged: rows first again
    ((50, 37), 24, 20, ["nearest", "bicubic"]),
]
# (width, height), (x, y, width, height), input, filters
CROPS = [
    ((61, 37), (10, 3, 40, 30), 28, ["nearest", "bilinear", "bicubic"]),
    ((61, 37), (0, 0, 61, 37), 28, ["bilinear", "bicubic"]),
    ((37, 61), (20, 30, 11, 14), 28, ["bilinear", "bicubic"]),
    ((37, 61), (36, 60, 1, 1), 28, ["bilinear"]),
]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    sizes = sorted({case[0] for case in EVAL + CROPS})
    for size in sizes:
        source(*size).save(OUT / f"resize_{size[0]}x{size[1]}.png", optimize=True)
    cases, data = [], bytearray()

    def add(size, window, short_side, side, mode, image):
        assert image.size == (side, side)
        cases.append(
            {"source": f"resize_{size[0]}x{size[1]}.png", "window": window, "resize": short_side,
             "input": side, "interpolation": mode, "offset": len(data)}
        )  # fmt: skip
        data.extend(image.tobytes())

    for size, short_side, side, modes in EVAL:
        for mode in modes:
            image = center_crop(resize(source(*size), short_side, MODES[mode]), side)
            add(size, None, short_side, side, mode, image)
    for size, (x, y, w, h), side, modes in CROPS:
        for mode in modes:
            image = resized_crop(source(*size), x, y, w, h, side, MODES[mode])
            add(size, [x, y, w, h], side, side, mode, image)

    (OUT / "resize.rgb").write_bytes(data)
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    (OUT / "resize.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(cases)} cases, {len(data)} bytes")


if __name__ == "__main__":
    main()
