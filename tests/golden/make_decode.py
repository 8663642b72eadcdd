"""Small odd image files for `crates/tl-data/tests/decode.rs`, with what Pillow makes of them.

    pip install pillow numpy                       # made with Pillow 13.0
    python3 tests/golden/make_decode.py

`decode.json` lists each file, its size, the pixels of Pillow's `convert("RGB")`, and by how many levels a
decoder may differ: JPEG decoders round differently and enlarge the colour planes differently. Without pixels the
file is one that the crate refuses.

Of 16 bits Pillow takes the upper 8, and cuts off grey at 255; the crate scales. So for grey the numbers here are
scaled with numpy, and for colour a difference of 1 is allowed. What Pillow cannot write (palettes of few bits,
16-bit colour, YCCK) is written here byte by byte, and where Pillow can read it, what it reads counts.
"""

import io
import json
import struct
import zlib
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


def deep():
    """Samples of 16 bits, [H, W, 3], that use their lower 8 bits."""
    return (np.asarray(smooth()).astype(np.uint32) * 257 * 251 // 256).astype(np.uint16)


def scaled(samples):
    """Samples of 16 bits to 8 bits, rounded."""
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def png(samples, colour_type):
    """A PNG of 16 bits; `samples` is [H, W, channels]."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", W, H, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(data, bits, photometric, order="<", colours=None, samples=1):
    """An uncompressed TIFF with one strip; `colours` are the values of the palette, all red ones first."""
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    shorts = [(258, [bits] * samples), (259, [1]), (262, [photometric]), (277, [samples])]
    shorts += [(320, colours)] if colours else []
    longs = [(256, W), (257, H), (273, 0), (278, H), (279, len(data))]
    count = len(shorts) + len(longs)
    behind = 8 + 2 + 12 * count + 4
    entries, extra = {}, b""
    for tag, values in shorts:
        packed = struct.pack(order + f"{len(values)}H", *values)
        if len(packed) > 4:
            packed, extra = struct.pack(order + "I", behind + len(extra)), extra + packed
        entries[tag] = struct.pack(order + "HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    for tag, value in longs:
        value = behind + len(extra) if tag == 273 else value
        entries[tag] = struct.pack(order + "HHII", tag, 4, 1, value)
    # The strip comes last; its place is known once all that is stored outside of the entries is.
    entries[273] = struct.pack(order + "HHII", 273, 4, 1, behind + len(extra))
    directory = struct.pack(order + "H", count) + b"".join(entries[tag] for tag in sorted(entries)) + b"\0" * 4
    return header + directory + extra + data


def big(data, order):
    """An uncompressed TIFF with 64-bit offsets: 8 bits, RGB, one strip."""
    header = {"<": b"II+\0", ">": b"MM\0+"}[order] + struct.pack(order + "HHQ", 8, 0, 16)
    bits = struct.pack(order + "HHQ4H", 258, 3, 3, 8, 8, 8, 0)
    shorts = {259: 1, 262: 2, 277: 3}
    behind = 16 + 8 + 20 * 9 + 8
    longs = {256: W, 257: H, 273: behind, 278: H, 279: len(data)}
    entries = {tag: struct.pack(order + "HHQH6x", tag, 3, 1, value) for tag, value in shorts.items()}
    entries |= {tag: struct.pack(order + "HHQQ", tag, 16, 1, value) for tag, value in longs.items()}
    entries[258] = bits
    directory = struct.pack(order + "Q", len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
    return header + directory + b"\0" * 8 + data


def small_frame_gif(**options):
    """A GIF whose only frame is smaller than the screen."""
    bytes_ = io.BytesIO()
    smooth().crop((0, 0, 11, 9)).quantize(16).save(bytes_, "GIF", **options)
    content = bytearray(bytes_.getvalue())
    content[6:10] = struct.pack("<HH", W, H)
    at = content.index(b"," + struct.pack("<HHHH", 0, 0, 11, 9))
    content[at + 1 : at + 5] = struct.pack("<HH", 4, 3)
    return bytes(content)


def packed(indices, bits):
    """Rows of indices of a few bits each; every row begins with a new byte."""
    unpacked = np.unpackbits(indices.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
    return np.packbits(unpacked.reshape(H, W * bits), axis=-1).tobytes()


def palette_tiff(bits, order="<", old=False):
    """A TIFF with a palette of `2 ** bits` colours; old writers used 8 bits of the 16."""
    count = 2**bits
    image = smooth().quantize(count)
    table = np.zeros((256, 3), np.uint32)
    used = np.array(image.getpalette()).reshape(-1, 3)[:count]
    table[: len(used)] = used
    values = table[:count].T.reshape(-1) * (1 if old else 257)
    data = packed(np.asarray(image), bits)
    return tiff(data, bits, 3, order, [int(v) for v in values]), table[np.asarray(image)].astype(np.uint8)


def ycck(subsampling):
    """A JPEG of four components, marked by Adobe as luma, two differences and black."""
    cmyk = smooth().convert("CMYK")
    black = Image.fromarray(((np.arange(W * H).reshape(H, W) * 3) % 120).astype(np.uint8))
    ycc = Image.merge("RGB", cmyk.split()[:3]).convert("YCbCr")
    # Pillow stores CMYK inverted; so does Adobe.
    inverted = [band.point(lambda v: 255 - v) for band in ycc.split()]
    bytes_ = io.BytesIO()
    Image.merge("CMYK", [*inverted, black]).save(bytes_, "JPEG", quality=95, subsampling=subsampling)
    marked = bytearray(bytes_.getvalue())
    at = marked.index(b"Adobe") + 11
    assert marked[at] == 0
    marked[at] = 2
    return bytes(marked)


def without_adobe():
    bytes_ = io.BytesIO()
    smooth().convert("CMYK").save(bytes_, "JPEG", quality=95)
    marked = bytes_.getvalue()
    at = marked.index(b"\xff\xee")
    length = struct.unpack(">H", marked[at + 2 : at + 4])[0]
    return marked[:at] + marked[at + 2 + length :]


def main():
    rgb = smooth()
    palette = rgb.quantize(32)
    files = [
        ("decode_baseline.jpg", rgb, {"quality": 90}, 6),
        ("decode_444.jpg", rgb, {"quality": 95, "subsampling": 0}, 3),
        ("decode_progressive.jpg", rgb, {"quality": 90, "progressive": True}, 6),
        ("decode_restart.jpg", rgb, {"quality": 90, "restart_marker_blocks": 1}, 6),
        ("decode_grey.jpg", rgb.convert("L"), {"quality": 90}, 2),
        ("decode_cmyk.jpg", rgb.convert("CMYK"), {"quality": 95}, 2),
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
        ("decode_palette.tif", palette, {}, 0),
        ("decode_palette_lzw.tif", palette, {"compression": "tiff_lzw"}, 0),
        ("decode_grey_alpha.tif", with_alpha().convert("LA"), {"compression": "tiff_adobe_deflate"}, 0),
        ("decode_float.tif", Image.fromarray(np.asarray(rgb.convert("L")).astype(np.float32)), {}, None),
        ("decode_1bit.tif", rgb.convert("1"), {"compression": "group4"}, 0),
        ("decode_cmyk.tif", rgb.convert("CMYK"), {}, 2),
        ("decode_lossy.webp", rgb, {"quality": 80}, 4),
        ("decode_alpha.webp", with_alpha(), {"lossless": True, "exact": True}, 0),
        ("decode_1bit.pbm", rgb.convert("1"), {}, 0),
    ]
    samples = deep()
    grey = samples[..., 1]
    grey_alpha = np.stack([grey, samples[..., 0]], axis=-1)
    grey4 = np.asarray(rgb.convert("L")) // 16
    repeated = np.repeat(scaled(grey)[..., None], 3, axis=-1)
    # Name, content, levels, and the pixels if they are not Pillow's.
    written = [
        ("decode_ycck.jpg", ycck(0), 2, None),
        ("decode_cmyk_plain.jpg", without_adobe(), 2, None),
        ("decode_rgb16.png", png(samples, 2), 1, None),
        ("decode_grey16.png", png(grey[..., None], 0), 0, repeated),
        ("decode_grey_alpha16.png", png(grey_alpha, 4), 0, repeated),
        ("decode_rgb16.tif", tiff(samples.astype("<u2").tobytes(), 16, 2, samples=3), 1, None),
        ("decode_grey16.tif", tiff(grey.astype(">u2").tobytes(), 16, 1, ">"), 0, repeated),
        ("decode_grey4_inverted.tif", tiff(packed(15 - grey4, 4), 4, 0), 0, None),
        ("decode_palette1.tif", palette_tiff(1)[0], 0, None),
        ("decode_palette2.tif", palette_tiff(2, ">")[0], 0, None),
        ("decode_palette4.tif", palette_tiff(4)[0], 0, None),
        ("decode_big.tif", big(np.asarray(rgb).tobytes(), "<"), 0, None),
        # Pillow takes the fourth byte for the third here, and does not know the file.
        ("decode_big_motorola.tif", big(np.asarray(rgb).tobytes(), ">"), 0, np.asarray(rgb)),
        ("decode_small_frame.gif", small_frame_gif(), 0, None),
        ("decode_small_transparent.gif", small_frame_gif(transparency=5), 0, None),
        # As libtiff's `tiff2rgba` takes it; Pillow makes it black.
        ("decode_palette_old.tif", *[palette_tiff(4, ">", old=True)[i] for i in (0,)], 0, palette_tiff(4)[1]),
    ]
    cases = []
    for name, image, options, allowed in files:
        image.save(OUT / name, **options)
        cases.append((name, allowed, None))
    for name, content, allowed, pixels in written:
        (OUT / name).write_bytes(content)
        cases.append((name, allowed, pixels))
    lines = []
    for name, allowed, pixels in cases:
        if pixels is None:
            with Image.open(OUT / name) as again:
                pixels = np.asarray(again.convert("RGB"))
        known = None if allowed is None else list(pixels.tobytes())
        size = [pixels.shape[1], pixels.shape[0]]
        case = {"file": name, "size": size, "allowed": allowed, "pixels": known}
        lines.append("  " + json.dumps(case, separators=(",", ":")))
    (OUT / "decode.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
