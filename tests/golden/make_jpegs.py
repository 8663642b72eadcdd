"""JPEGs of every usual sampling, several blocks high, for the test that their upper rows can be decoded alone.

    pip install pillow numpy                       # made with Pillow 12.0
    python3 tests/golden/make_jpegs.py
"""

from pathlib import Path

import numpy as np
from PIL import Image

OUT = Path(__file__).parents[2] / "crates/tl-data/tests/data"
W, H = 45, 91


def main():
    y, x = np.mgrid[0:H, 0:W]
    waves = [128 + 127 * np.sin(x / 3 + y / a) * np.cos(y / b) for a, b in [(5, 7), (9, 4), (6, 11)]]
    rgb = Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))
    kinds = {
        "444": {"subsampling": "4:4:4"},
        "422": {"subsampling": "4:2:2"},
        "420": {"subsampling": "4:2:0"},
        "optimised": {"subsampling": "4:2:0", "optimize": True},
        "restart": {"subsampling": "4:2:0", "restart_marker_rows": 2},
        "grey": {},
        "cmyk": {},
        "progressive": {"progressive": True},
        "turned": {"exif": turned()},
    }
    modes = {"grey": "L", "cmyk": "CMYK"}
    for name, options in kinds.items():
        image = rgb.convert(modes.get(name, "RGB"))
        image.save(OUT / f"rows_{name}.jpg", quality=80, **options)


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


if __name__ == "__main__":
    main()
