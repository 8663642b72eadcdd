"""Small odd image files for `crates/tl-data/tests/decode.rs`, with what Pillow makes of them.

    pip install pillow numpy                       # made with Pillow 13.0
    python3 tests/golden/make_decode.py

`decode.json` lists each file, its size, the pixels of Pillow's `convert("RGB")`, and by how many levels a
decoder may differ: JPEG decoders round differently and enlarge the colour planes differently. Without pixels the file is one that the crate refuses.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

OUT = Path(__file__).parents[2] / "crates/tl-data/tests/data"
W, H = 20, 16


def smooth():
    y, x = np.mgrid[0:H, 0:W]
    return Image.fromarray(np.stack([x * 12, y * 15, 255 - x * 6 - y * 6], axis=-1).astype(np.uint8))


def with_alpha():
    image = smooth().convert("RGBA")
    image.putalpha(Image.fromarray((np.arange(W * H).reshape(H, W) % 256).astype(np.uint8)))
    return image


def main():
    rgb = smooth()
    palette = rgb.quantize(32)
    files = [
        ("decode_baseline.jpg", rgb, {"quality": 90}, 6),
        ("decode_444.jpg", rgb, {"quality": 95, "subsampling": 0}, 3),
        ("decode_progressive.jpg", rgb, {"quality": 90, "progressive": True}, 6),
        ("decode_restart.jpg", rgb, {"quality": 90, "restart_marker_blocks": 1}, 6),
        ("decode_grey.jpg", rgb.convert("L"), {"quality": 90}, 2),
        ("decode_cmyk.jpg", rgb.convert("CMYK"), {"quality": 95}, 8),
        ("decode_palette.png", palette, {}, 0),
        ("decode_palette_alpha.png", palette, {"transparency": 3}, 0),
        ("decode_1bit.png", rgb.convert("1"), {}, 0),
        ("decode_grey_alpha.png", with_alpha().convert("LA"), {}, 0),
        ("decode_palette.gif", palette, {}, 0),
        ("decode_transparent.gif", palette, {"transparency": 3}, 0),
        ("decode_animated.gif", palette, {"save_all": True, "append_images": [palette.rotate(180)]}, 0),
        ("decode_palette.bmp", palette, {}, 0),
        ("decode_1bit.bmp", rgb.convert("1"), {}, 0),
        ("decode_alpha.tif", with_alpha(), {}, 0),
        ("decode_lzw.tif", rgb, {"compression": "tiff_lzw"}, 0),
        ("decode_palette.tif", palette, {}, None),
        ("decode_1bit.tif", rgb.convert("1"), {"compression": "group4"}, 0),
        ("decode_cmyk.tif", rgb.convert("CMYK"), {}, 2),
        ("decode_lossy.webp", rgb, {"quality": 80}, 4),
        ("decode_alpha.webp", with_alpha(), {"lossless": True, "exact": True}, 0),
        ("decode_1bit.pbm", rgb.convert("1"), {}, 0),
    ]
    cases = []
    for name, image, options, allowed in files:
        image.save(OUT / name, **options)
        with Image.open(OUT / name) as again:
            pixels = again.convert("RGB")
        known = None if allowed is None else list(pixels.tobytes())
        cases.append({"file": name, "size": pixels.size, "allowed": allowed, "pixels": known})
    lines = ",\n".join("  " + json.dumps(case, separators=(",", ":")) for case in cases)
    (OUT / "decode.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
