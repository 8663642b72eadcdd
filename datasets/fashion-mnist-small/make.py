#!/usr/bin/env python3
"""Writes the image tree of this folder from the four Fashion-MNIST archives.

    python3 make.py FOLDER_WITH_THE_IDX_GZ_FILES [--out DIR]

Only the Python standard library is used. The first TRAIN images of each class in the training file become
`train/<class>/NNNN.png`, the first VAL of each class in the test file become `val/<class>/NNNN.png`; so the
pixels are the same on every machine. The compressed bytes also depend on the version of zlib, so a tree made
again can have another `tree_sha256` with the same pixels.

On Debian and Ubuntu the archives come from a package and need no root:

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb X
    python3 make.py X/usr/share/datasets/fashion-mnist
"""

import argparse
import gzip
import hashlib
import json
import struct
import zlib
from pathlib import Path

# Index = label in the source.
CLASSES = [
    "t-shirt-top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle-boot",
]  # fmt: skip
TRAIN = 100
VAL = 30
SIDE = 28
SPLITS = [
    ("train", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", TRAIN),
    ("val", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", VAL),
]


def read_idx(path):
    """-> (dimensions, bytes) of one idx file of unsigned bytes."""
    data = gzip.decompress(path.read_bytes())
    zero, kind, rank = struct.unpack(">HBB", data[:4])
    if zero != 0 or kind != 8:
        raise SystemExit(f"{path}: not an idx file of unsigned bytes")
    dimensions = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    return dimensions, data[4 + 4 * rank :]


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def paeth(a, b, c):
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    return a if pa <= pb and pa <= pc else b if pb <= pc else c


def filtered(rows, kind):
    """The scan lines of an 8-bit grey image with one PNG filter (0 to 4) on every row."""
    above = bytes(SIDE)
    out = bytearray()
    for row in rows:
        out.append(kind)
        for x, value in enumerate(row):
            a = row[x - 1] if x else 0
            c = above[x - 1] if x else 0
            b = above[x]
            guess = (0, a, b, (a + b) // 2, paeth(a, b, c))[kind]
            out.append((value - guess) & 255)
        above = row
    return bytes(out)


def deflate(data, strategy):
    coder = zlib.compressobj(9, zlib.DEFLATED, 15, 9, strategy)
    return coder.compress(data) + coder.flush()


def png(pixels):
    """The smallest of all (filter, strategy) pairs as a grey PNG without metadata."""
    rows = [pixels[y * SIDE : (y + 1) * SIDE] for y in range(SIDE)]
    strategies = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE)
    body = min((deflate(filtered(rows, kind), s) for kind in range(5) for s in strategies), key=len)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tree_sha256(out):
    """The crate's `fingerprint` of train and val together: see `tl_data::fingerprint`."""
    lines = [f"class {name}\n".encode() for name in sorted(CLASSES)]
    files = sorted(p.relative_to(out).as_posix() for s in ("train", "val") for p in (out / s).glob("*/*.png"))
    for rel in files:
        sha256 = hashlib.sha256((out / rel).read_bytes()).hexdigest()
        lines.append(f"{sha256}  {rel}\0{rel.split('/')[1]}\n".encode())
    return hashlib.sha256(b"".join(lines)).hexdigest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path, help="folder with the four idx .gz files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()

    for split, images, labels, wanted in SPLITS:
        (count, height, width), pixels = read_idx(args.source / images)
        _, labels = read_idx(args.source / labels)
        if (height, width) != (SIDE, SIDE) or count != len(labels):
            raise SystemExit(f"{images}: expected {SIDE} x {SIDE} images, one label each")
        taken = [0] * len(CLASSES)
        for index, label in enumerate(labels):
            if taken[label] == wanted:
                continue
            folder = args.out / split / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            image = pixels[index * SIDE * SIDE : (index + 1) * SIDE * SIDE]
            (folder / f"{taken[label]:04}.png").write_bytes(png(image))
            taken[label] += 1

    sources = [name for _, images, labels, _ in SPLITS for name in (images, labels)]
    facts = {
        "source_sha256": {n: hashlib.sha256((args.source / n).read_bytes()).hexdigest() for n in sources},
        "tree_sha256": tree_sha256(args.out),
        "bytes": sum(p.stat().st_size for p in args.out.glob("*/*/*.png")),
    }
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
