"""Perceptual hashes for `crates/tl-data/tests/doctor_hash.rs`, by the package imagehash.

    pip install pillow numpy imagehash             # made with Pillow 13.0 and imagehash 4.3.2
    python3 tests/golden/make_phash.py

The pictures are those that `make_resize.py` wrote. `phash.json` maps their names to the hash as a hexadecimal
number. The package makes a picture small with a Lanczos filter, the crate with plain means, so a few bits differ.
"""

import json
from pathlib import Path

import imagehash
from PIL import Image

DATA = Path(__file__).parents[2] / "crates/tl-data/tests/data"


def main():
    hashes = {}
    for path in sorted(DATA.glob("resize_*x*.png")):
        with Image.open(path) as image:
            if min(image.size) > 8:
                hashes[path.name] = str(imagehash.phash(image))
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in hashes.items())
    (DATA / "phash.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
