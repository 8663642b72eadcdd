"""Golden data for `crates/tl-data/tests/idg*.rs`: what Keras's `ImageDataGenerator` does.

    pip install keras torch scipy pandas pillow    # made with Keras 3.15, SciPy 1.17, Pillow 13.0
    KERAS_BACKEND=torch python3 tests/golden/make_idg.py

Inputs are made by a formula (`picture`), which the tests repeat, so only outputs are stored:

- `idg.json`: arguments, parameters, statistics, and what the flows found;
- `idg_transform.png`: one row of 16-bit grey for each set of parameters: some pixels of `apply_transform`, as
  `(value + 128) * 128`;
- `idg_documented.png`: the same of SciPy alone, with the centre where it is documented to be;
- `idg_load.png`: the bytes of `load_img`, one after the other;
- `idg_kinds.png`: the levels of `load_img` for kinds of files (those of `make_decode.py` and `idg_turned.tif`), in 16 bits.
"""

import json
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.ndimage
from keras.src.applications.imagenet_utils import preprocess_input
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from keras.src.utils.image_utils import load_img
from PIL import Image

OUT = Path(__file__).parents[2] / "crates/tl-data/tests/data"
KEPT = 256  # pixels stored of each transformed image
warnings.simplefilter("ignore")


def picture(height, width, channels, number=0):
    """Whole numbers in 0..=255, rough enough that no shift goes unseen."""
    r, c, k = np.mgrid[0:height, 0:width, 0:channels]
    return ((r * r * 3 + c * c * 5 + r * c * 7 + k * 41 + number * 29 + r * number * 3) % 256).astype("float32")


def speckled(height, width, channels, number):
    """Another picture: those of different numbers have nothing in common, so that ZCA is well defined."""
    r, c, k = np.mgrid[0:height, 0:width, 0:channels]
    a, b = r * 37 + c * 11 + k * 3 + 1, number * number + 11 * number + 3
    return ((a * a * b + b * b * 13 + a * 7) % 251).astype("float32")


def scaled(image, scale):
    """The same in another range: `unit` is 0 to 1, `signed` goes beyond 0 and 255."""
    if scale == "unit":
        return image / np.float32(255)
    return image * np.float32(1.5) - np.float32(60) if scale == "signed" else image


def save16(rows, name):
    Image.fromarray(np.stack(rows)).save(OUT / name, optimize=True)


NAMES = "theta tx ty shear zx zy flip_horizontal flip_vertical channel_shift_intensity brightness".split()


def rounded(params):
    """Parameters with few digits, and the values in the order of `NAMES`."""
    out = {}
    for name in NAMES:
        value = params.get(name, 1 if name in ("zx", "zy") else None if name in NAMES[8:] else 0)
        out[name] = None if value is None else bool(value) if "flip" in name else round(float(value), 4)
    return out


def kept(values, number):
    """The pixels that are stored, and how they are."""
    flat = values.reshape(-1)
    at = (np.arange(KEPT) * 97 + number * 31) % len(flat)
    return np.clip(np.round((flat[at].astype("float64") + 128) * 128), 0, 65535).astype(np.uint16)


WIDE = dict(rotation_range=180, width_shift_range=0.4, height_shift_range=0.4, shear_range=40, zoom_range=[0.5, 1.8],
            horizontal_flip=True, vertical_flip=True)
SMALL = dict(rotation_range=20, width_shift_range=3, height_shift_range=0.1, zoom_range=0.2)
COLOUR = dict(channel_shift_range=60.0, brightness_range=[0.2, 1.7], horizontal_flip=True)


def groups():
    """Arguments, shape, range of values, and how many sets of parameters."""
    for fill in ("nearest", "reflect", "wrap", "constant"):
        fill = dict(fill_mode=fill, cval=77.5)
        for order in (0, 1):
            order = dict(interpolation_order=order)
            yield {**WIDE, **fill, **order}, (24, 24, 1), "bytes", 10
            yield {**WIDE, **fill, **order}, (20, 33, 1), "bytes", 12
            yield {**SMALL, **fill, **order}, (20, 33, 3), "bytes", 3
            yield {**WIDE, **fill, **order}, (1, 9, 1), "bytes", 2
            yield {**WIDE, **fill, **order}, (7, 1, 4), "bytes", 2
        for order in (2, 3, 4, 5):
            yield {**WIDE, **fill, "interpolation_order": order}, (20, 33, 1), "bytes", 4
            yield {**SMALL, **fill, "interpolation_order": order}, (24, 24, 1), "bytes", 2
    for channels in (1, 3, 4):
        for scale in ("bytes", "unit", "signed"):
            yield COLOUR, (24, 24, channels), scale, 5
            yield {**COLOUR, **SMALL}, (20, 33, channels), scale, 4
    yield {"channel_shift_range": 200.0, "vertical_flip": True}, (20, 33, 3), "bytes", 4


SINGLE = [dict(theta=33), dict(theta=-90.5), dict(tx=2), dict(ty=-3.25), dict(tx=30, ty=1), dict(shear=25), dict(zx=0.7),
          dict(zy=1.6), dict(zx=-1.1, zy=0.9), dict(theta=10, zx=1.2), dict(brightness=0.0), dict(brightness=1.0),
          dict(brightness=3.0), dict(channel_shift_intensity=-300)]


def transforms():
    rows, found, number = [], [], 0
    todo = [(args, shape, scale, None, n) for args, shape, scale, n in groups()]
    todo.append(({}, (20, 33, 3), "bytes", SINGLE, len(SINGLE)))
    for args, shape, scale, single, n in todo:
        generator, sets = ImageDataGenerator(**args), []
        for i in range(n):
            params = rounded(single[i] if single else generator.get_random_transform(shape, seed=number))
            x = scaled(picture(*shape, number), scale)
            y = generator.apply_transform(x.copy(), params)
            rows.append(kept(y * 255 if scale == "unit" else y, number))
            sets.append([params[name] for name in NAMES])
            number += 1
        found.append({"args": args, "shape": shape, "scale": scale, "params": sets})
    save16(rows, "idg_transform.png")
    return {"names": NAMES, "groups": found, "one": generator.get_random_transform((24, 24, 3), seed=1)}


def documented():
    """What the documentation says, by SciPy: about the centre, and `wrap` as the image repeated."""
    rows, found = [], []
    rng = np.random.default_rng(1)
    for fill, mode in [("nearest", "nearest"), ("reflect", "reflect"), ("wrap", "grid-wrap"), ("constant", "constant")]:
        for order in (0, 1, 2, 3, 5):
            # Not below some 10 pixels: there SciPy's `reflect` reads a value that it has overwritten.
            for height, width in [(20, 33), (24, 24), (13, 11)]:
                theta, tx, ty, shear = rng.uniform(-1, 1, 4).round(3) * [180, 9, 9, 30]
                zx, zy = rng.uniform(0.6, 1.6, 2).round(3)
                params = dict(theta=theta, tx=tx, ty=ty, shear=shear, zx=zx, zy=zy)
                c, d = np.cos(np.deg2rad([theta, shear]))
                s, t = np.sin(np.deg2rad([theta, shear]))
                about = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
                turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
                shift = np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
                skew = np.array([[1, -t, 0], [0, d, 0], [0, 0, 1]])
                m = about @ turn @ shift @ skew @ np.diag([zx, zy, 1]) @ np.linalg.inv(about)
                m = m[[1, 0, 2]][:, [1, 0, 2]]  # rows come first in an array
                number = len(rows)
                x = picture(height, width, 1, number)[:, :, 0]
                y = scipy.ndimage.affine_transform(x, m[:2, :2], m[:2, 2], order=order, mode=mode, cval=77.5)
                rows.append(kept(y, number))
                found.append({"args": {"fill_mode": fill, "interpolation_order": order, "cval": 77.5},
                              "shape": [height, width, 1], "params": params})
    save16(rows, "idg_documented.png")
    return found


def channels_first():
    """All of it with the channels in front."""
    cases = []
    for args, params in [
        (dict(channel_shift_range=9, featurewise_std_normalization=True, fill_mode="reflect"),
         dict(theta=20, tx=1, ty=-0.5, zx=0.9, flip_horizontal=True, channel_shift_intensity=-7)),
        (dict(zca_whitening=True, zca_epsilon=0.1), dict(flip_vertical=True, ty=2)),
        (dict(samplewise_std_normalization=True), dict(shear=20, zy=1.3)),
    ]:
        generator = ImageDataGenerator(data_format="channels_first", **args)
        generator.fit(np.stack([speckled(5, 4, 3, i).transpose(2, 0, 1) for i in range(70)]))
        x = generator.apply_transform(speckled(5, 4, 3, 3).transpose(2, 0, 1), params)
        cases.append({"args": args, "params": params, "out": numbers(generator.standardize(x))})
    return cases


def fitted():
    """`fit` on changed images; the ranges leave no choice."""
    cases = []
    for args in [dict(zoom_range=[0.8, 0.8], brightness_range=[0.5, 0.5], featurewise_std_normalization=True),
                 dict(zoom_range=[1.3, 1.3], rescale=1 / 255, featurewise_center=True, samplewise_center=True)]:
        generator = ImageDataGenerator(**args)
        generator.fit(np.stack([speckled(6, 5, 3, i) for i in range(5)]), augment=True, rounds=2)
        cases.append({"args": args, "mean": numbers(generator.mean),
                      "std": None if generator.std is None else numbers(generator.std)})
    return cases


def numbers(values):
    return [float(f"{v:.7g}") for v in np.asarray(values, dtype="float64").reshape(-1)]


def standardised():
    cases = []
    for args, n, shape in [
        (dict(), 0, (5, 4, 3)),
        (dict(rescale=1 / 255), 0, (5, 4, 3)),
        (dict(samplewise_center=True), 0, (5, 4, 3)),
        (dict(samplewise_std_normalization=True, rescale=0.1), 0, (5, 4, 3)),
        (dict(preprocessing_function="caffe"), 0, (5, 4, 3)),
        (dict(preprocessing_function="tf", rescale=2.0), 0, (5, 4, 1)),
        (dict(preprocessing_function="torch"), 0, (5, 4, 3)),
        (dict(featurewise_center=True), 6, (5, 4, 3)),
        (dict(featurewise_std_normalization=True, rescale=1 / 255), 6, (5, 4, 3)),
        (dict(featurewise_std_normalization=True), 7, (6, 3, 1)),
        (dict(featurewise_center=True, samplewise_std_normalization=True, rescale=0.5), 6, (5, 4, 3)),
        (dict(featurewise_center=True, preprocessing_function="torch"), 6, (5, 4, 3)),
        (dict(zca_whitening=True, rescale=1 / 255), 40, (4, 4, 1)),
        (dict(zca_whitening=True, zca_epsilon=0.1, rescale=1 / 255), 60, (3, 3, 3)),
        (dict(zca_whitening=True, zca_epsilon=0.01, featurewise_std_normalization=True), 10, (4, 4, 1)),
        (dict(featurewise_center=True, zca_whitening=True), 0, (4, 4, 1)),
    ]:
        real = dict(args)
        if mode := args.get("preprocessing_function"):
            real["preprocessing_function"] = lambda x, mode=mode: preprocess_input(x, mode=mode)
        generator = ImageDataGenerator(**real)
        case = {"args": args, "shape": shape, "fit": n}
        if n:
            generator.fit(np.stack([speckled(*shape, i) for i in range(n)]))
            for name, value in [("mean", generator.mean), ("std", generator.std), ("zca", generator.zca_whitening_matrix)]:
                case[name] = None if value is None else numbers(value)
        case["out"] = numbers(generator.standardize(speckled(*shape, 3)))
        cases.append(case)
    return cases


def source(width, height, mode):
    """A picture as a file has it."""
    image = picture(height, width, {"L": 1, "RGB": 3, "RGBA": 4}[mode], 5).astype(np.uint8)
    return Image.fromarray(image[:, :, 0] if mode == "L" else image)


def loaded(folder):
    cases, data = [], []
    filters = ["nearest", "bilinear", "bicubic", "hamming", "box", "lanczos"]
    todo = [(23, 17, "RGB", "rgb", False, (9, 11)), (23, 17, "RGB", "rgb", True, (9, 11)), (14, 61, "RGB", "rgb", False, (11, 9)),
            (14, 61, "RGB", "rgb", True, (9, 11)), (60, 25, "RGB", "rgb", True, (9, 11)), (60, 25, "RGBA", "rgba", False, (9, 11)),
            (23, 17, "RGB", "grayscale", False, (9, 11)), (8, 30, "L", "rgb", False, (26, 9)), (9, 11, "RGB", "rgb", False, (26, 31)),
            (9, 11, "RGBA", "rgba", True, (14, 31)), (11, 9, "RGB", "rgba", False, (9, 11)), (9, 12, "RGBA", "grayscale", True, (12, 5))]
    for width, height, mode, color_mode, keep, target in todo:
        path = folder / "load.png"
        source(width, height, mode).save(path)
        for name in filters:
            image = load_img(path, color_mode, target, name, keep)
            data.append(np.asarray(image, dtype=np.uint8).reshape(-1))
            cases.append({"size": [width, height], "mode": mode, "color_mode": color_mode, "target_size": target,
                          "interpolation": name, "keep_aspect_ratio": keep, "bytes": len(data[-1])})
        path.unlink()
    flat = np.concatenate(data)
    flat = np.pad(flat, (0, -len(flat) % 256)).reshape(-1, 256)
    Image.fromarray(flat).save(OUT / "idg_load.png", optimize=True)
    return cases


KINDS = ["1bit.png", "alpha.tif", "cmyk.jpg", "cmyk.tif", "grey16.png", "grey16.tif", "grey4_inverted.tif", "grey_alpha.png",
         "grey_alpha.tif", "grey_alpha16.png", "palette.png", "palette.tif", "palette_alpha.png", "rgb16.png", "rgb16.tif",
         "transparent.gif", "little.tif", "turned.tif"]


def kinds():
    """Kinds of files in all colours."""
    turned = Image.fromarray(picture(9, 14, 3, 5).astype(np.uint8))
    turned.save(OUT / "idg_turned.tif", tiffinfo={274: 6})
    grey = (picture(9, 14, 1, 5)[:, :, 0] * 200).astype(np.uint16)
    Image.fromarray(grey).save(OUT / "idg_little.tif")
    cases, data = [], []
    for kind in KINDS:
        name = ("idg_" if kind in ("little.tif", "turned.tif") else "decode_") + kind
        for color_mode in ("rgb", "rgba", "grayscale"):
            for filter, keep in (("nearest", True), ("bilinear", False), ("lanczos", False)):
                image = load_img(OUT / name, color_mode, (7, 9), filter, keep)
                data.append(np.asarray(image, dtype=np.uint16).reshape(-1))
                cases.append({"file": name, "color_mode": color_mode, "interpolation": filter,
                              "keep_aspect_ratio": keep, "values": len(data[-1])})
    flat = np.concatenate(data)
    save16(np.pad(flat, (0, -len(flat) % 256)).reshape(-1, 256), "idg_kinds.png")
    return cases


FILES = [
    *(f"cats/{i}.png" for i in range(7)), "cats/10.PNG", "cats/a-b/1.jpg", "cats/a/c/2.JPEG", "cats/a/3.bmp", "cats/a_b/4.tif",
    "cats/readme.txt", "cats/x.gif", "cats/y.webp", "cats/z_png", "cats/ü.png", "cats/Z.tiff",
    *(f"dogs/dog {i}.jpg" for i in range(11)), "dogs/deep/er/1.ppm", "Birds/1.png", "Birds/2.png", "Birds/3.png",
    ".hidden/1.png", "empty/none.txt", "top.png",
]


def directories(folder):
    root = folder / "tree"
    for name in FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path, "PNG")
    (folder / "elsewhere").mkdir()
    Image.new("RGB", (2, 2)).save(folder / "elsewhere/far.png")
    os.symlink(folder / "elsewhere", root / "dogs/link")
    os.symlink(folder / "elsewhere", root / "linked")
    cases = []
    for split, args in [
        (0.0, {}),
        (0.0, {"classes": ["dogs", "cats"], "class_mode": "binary"}),
        (0.0, {"classes": ["cats", "Birds"], "class_mode": "sparse", "follow_links": True}),
        (0.0, {"classes": ["dogs"], "class_mode": None, "follow_links": True}),
        (0.29, {"subset": "validation"}),
        (0.29, {"subset": "training"}),
        (0.5, {"subset": "validation", "class_mode": "input", "classes": ["Birds", "dogs", "cats"]}),
        (0.5, {"subset": "training", "class_mode": "sparse", "classes": ["Birds", "dogs", "cats"]}),
        (0.999, {"subset": "training"}),
    ]:
        flow = ImageDataGenerator(validation_split=split).flow_from_directory(
            str(root), shuffle=False, batch_size=5, target_size=(3, 4), **args)
        batches = []
        for batch in [flow[i] for i in range(min(2, len(flow)))]:
            y = None if args.get("class_mode", "") in (None, "input") else np.asarray(batch[1])
            batches.append(None if y is None else {"shape": y.shape, "values": numbers(y)})
        cases.append({"split": split, "args": args, "filenames": flow.filenames, "labels": flow.classes.tolist(),
                      "classes": sorted(flow.class_indices, key=flow.class_indices.get), "batches": batches, "len": len(flow)})
    return {"files": FILES, "cases": cases}


TABLE = {
    "filename": ["cats/0.png", "dogs/dog 1.jpg", "cats/1.png", "gone.png", "dogs/dog 2.jpg", "Birds/1.png", "cats/readme.txt",
                 "cats/2.png", "dogs/dog 10.jpg", "Birds/2.png", "cats/3.png", "dogs/deep/er/1.ppm"],
    "class": ["cat", "dog", "cat", "cat", "dog", "bird", "cat", "cat", "dog", "bird", "cat", "dog"],
    "two": ["x", "y", "x", "x", "y", "y", "x", "x", "y", "y", "x", "y"],
    "tags": [["a", "b"], ["b"], ["c"], ["a"], ["c", "a", "b"], ["d"], ["a"], ["b", "d"], ["a"], ["d", "c"], ["b"], ["a"]],
    "few": [["a"], [], ["c"], [], ["c", "a"], ["d"], ["a"], [], ["a"], ["d", "c"], ["b"], ["a"]],
    "age": [1, 2.5, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    "weight": [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6],
}


def frames(folder):
    cases = []
    for split, args in [
        (0.0, {}),
        (0.0, {"class_mode": "sparse", "classes": ["dog", "cat"]}),
        (0.0, {"class_mode": "binary", "y_col": "two", "weight_col": "weight"}),
        (0.0, {"class_mode": "binary", "classes": ["bird", "dog"]}),
        (0.0, {"y_col": "tags"}),
        (0.0, {"y_col": "tags", "classes": ["c", "b", "c"]}),
        (0.0, {"y_col": "few"}),
        (0.0, {"y_col": "few", "classes": ["a", "c"]}),
        (0.0, {"class_mode": "binary", "y_col": "two", "classes": []}),
        (0.0, {"class_mode": None, "y_col": None}),
        (0.0, {"class_mode": "input", "y_col": None}),
        (0.0, {"class_mode": "raw", "y_col": ["age"]}),
        (0.0, {"class_mode": "raw", "y_col": "age"}),
        (0.0, {"class_mode": "raw", "y_col": ["weight", "age"], "weight_col": "age"}),
        (0.0, {"class_mode": "multi_output", "y_col": ["age", "weight"]}),
        (0.0, {"class_mode": None}),
        (0.0, {"class_mode": "input"}),
        (0.29, {"subset": "validation"}),
        (0.29, {"subset": "training", "class_mode": "sparse"}),
        (0.35, {"subset": "validation", "class_mode": "raw", "y_col": "age", "weight_col": "weight"}),
    ]:
        flow = ImageDataGenerator(validation_split=split).flow_from_dataframe(
            pd.DataFrame(TABLE), str(folder / "tree"), shuffle=False, batch_size=4, target_size=(3, 4), **args)
        mode, batch = args.get("class_mode", "categorical"), flow[0]
        case = {"split": split, "args": args, "filenames": flow.filenames, "len": len(flow), "targets": None, "weights": None}
        if mode not in (None, "input"):
            columns = batch[1] if mode == "multi_output" else [batch[1]]
            case["targets"] = [{"shape": np.shape(y), "values": numbers(y)} for y in columns]
        if "weight_col" in args:
            case["weights"] = numbers(batch[2])
        if mode in ("categorical", "binary", "sparse"):
            case["classes"] = sorted(flow.class_indices, key=flow.class_indices.get)
        cases.append(case)
    return {"table": TABLE, "cases": cases}


def arrays():
    """Which images a flow of arrays takes, told by their numbers."""
    cases = []
    x = np.arange(11, dtype="float32").reshape(11, 1, 1, 1) * np.ones((1, 2, 3, 1), "float32")
    y = np.arange(11) % 2
    for split, args in [(0.0, {}), (0.29, {"subset": "validation"}), (0.29, {"subset": "training"}),
                        (0.1, {"subset": "validation"}), (0.1, {"subset": "validation", "ignore_class_split": True}),
                        (0.01, {"subset": "training", "ignore_class_split": True})]:
        generator = ImageDataGenerator(validation_split=split)
        case = {"split": split, "args": args, "images": None}
        try:
            flow = generator.flow(x, y, shuffle=False, batch_size=3, sample_weight=np.arange(11), **args)
            case["images"] = [int(image[0, 0, 0]) for i in range(len(flow)) for image in flow[i][0]]
            case["weights"] = [int(weight) for i in range(len(flow)) for weight in flow[i][2]]
            case["labels"] = [int(label) for i in range(len(flow)) for label in flow[i][1]]
            case["len"] = len(flow)
        except ValueError:
            pass
        cases.append(case)
    return cases


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        found = {
            "kept": KEPT,
            "transforms": transforms(),
            "documented": documented(),
            "standardised": standardised(),
            "channels_first": channels_first(),
            "fitted": fitted(),
            "loaded": loaded(folder),
            "kinds": kinds(),
            "directories": directories(folder),
            "frames": frames(folder),
            "arrays": arrays(),
        }

    def plain(value):
        return value.item() if isinstance(value, np.generic) else value.tolist()

    text = json.dumps(found, separators=(",", ":"), default=plain, ensure_ascii=False)
    (OUT / "idg.json").write_text(text.replace('},{', '},\n{') + "\n")


if __name__ == "__main__":
    main()
