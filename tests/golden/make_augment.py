"""Golden images for `crates/tl-data/tests/augment.rs`: what torchvision makes of them with given parameters.

    pip install torch torchvision pillow numpy     # made with torch 2.11, torchvision 0.26, Pillow 13.0
    python3 tests/golden/make_augment.py

Two synthetic images of 31 x 31 pixels: `hard` has ramps, edges and noise, `smooth` is what a photo is like at that
size. Colour operations and geometry are torchvision's on Pillow images; blur is defined on tensors only, and so are
erasing, MixUp and CutMix. `augment.rgb` holds raw RGB, rows from the top; `augment.json` lists the cases.

`shifts`, `crops` and `large` are RandAugment's shifts, the spread of random crops, and a large picture made by a formula,
which the tests make as well.

What torchvision does in several resamplings and the crate in one is compared with a direct sum over all pixels in
float64 (`tent`), and on the smooth image with torchvision's own chain as well.
"""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import autoaugment
from torchvision.transforms import functional as F

OUT = Path(__file__).parents[2] / "crates/tl-data/tests/data"
SIDE = 31
BILINEAR = InterpolationMode.BILINEAR
NEAREST = InterpolationMode.NEAREST
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def hard(width=SIDE, height=SIDE):
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(5).integers(0, 256, (height, width))
    red = (x * 255 // (width - 1) + y * 37) % 256
    green = np.where((x // 3 + y // 5) % 2 == 0, 250, 5)
    return Image.fromarray(np.stack([red, green, noise], axis=-1).astype(np.uint8))


def smooth(width=SIDE, height=SIDE):
    """A few slow waves, no full black and no full white."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(x / 9.0 + 0.4) + np.cos(y / 7.0) * np.sin((x + y) / 13.0),
        np.cos(x / 11.0) - np.sin(y / 8.0 + 1.0),
        np.sin((x - 2 * y) / 17.0) + 0.5 * np.cos(x / 6.0),
    ]
    levels = [105 + 60 * wave / np.abs(wave).max() for wave in waves]
    return Image.fromarray(np.stack(levels, axis=-1).round().astype(np.uint8))


SOURCES = {"hard": hard(), "smooth": smooth()}


def blur(image, kernel, sigma):
    return F.gaussian_blur(image, [kernel, kernel], [sigma, sigma])


# The operation as the crate writes it, what torchvision calls it, and on which images.
COLOURS = [
    *[({"brightness": f}, lambda i, f=f: F.adjust_brightness(i, f), "hard") for f in (0.3, 1.7)],
    *[({"contrast": f}, lambda i, f=f: F.adjust_contrast(i, f), "hard smooth") for f in (0.4, 1.8)],
    *[({"saturation": f}, lambda i, f=f: F.adjust_saturation(i, f), "hard") for f in (0.0, 0.55, 1.6)],
    *[({"hue": f}, lambda i, f=f: F.adjust_hue(i, f), "hard smooth") for f in (0.1, -0.3)],
    ({"hue": 0.5}, lambda i: F.adjust_hue(i, 0.5), "hard"),
    *[({"sharpness": f}, lambda i, f=f: F.adjust_sharpness(i, f), "hard") for f in (0.0, 0.4, 1.99)],
    *[({"posterize": b}, lambda i, b=b: F.posterize(i, b), "hard") for b in (1, 3)],
    ({"solarize": 100.5}, lambda i: F.solarize(i, 100.5), "hard"),
    ("autocontrast", F.autocontrast, "hard smooth"),
    ("equalize", F.equalize, "hard smooth"),
    ("invert", F.invert, "hard"),
    ("grayscale", lambda i: F.to_grayscale(i, 3), "hard"),
    *[
        ({"gaussian-blur": {"kernel": k, "sigma": s}}, lambda i, k=k, s=s: blur(i, k, s), "hard")
        for k, s in ((3, 0.5), (7, 1.7), (23, 3.0))
    ],
]

# As above, with the names of `_apply_op`, which TrivialAugment and RandAugment use.
GEOMETRY = [
    ({"shear-x": 0.33}, "ShearX", 0.33),
    ({"shear-x": -0.99}, "ShearX", -0.99),
    ({"shear-y": 0.5}, "ShearY", 0.5),
    ({"translate-x": {"pixels": 5}}, "TranslateX", 5.4),
    ({"translate-y": {"part": -0.3}}, "TranslateY", -0.3 * SIDE),
    ({"rotate": 13.5}, "Rotate", 13.5),
    ({"rotate": 90.0}, "Rotate", 90.0),
    ({"rotate": -130.5}, "Rotate", -130.5),
]


class Cases:
    def __init__(self):
        self.cases, self.data = [], bytearray()

    def add(self, kind, source, params, image, resize=None, filter="bilinear"):
        """`params` as the crate writes its `Params`, `image` what has to come out."""
        array = np.asarray(image)
        assert array.shape[0] == array.shape[1] and array.shape[2] == 3 and array.dtype == np.uint8
        side = array.shape[0]
        self.cases.append(
            {"kind": kind, "source": source, "params": params, "input": side, "resize": resize or side,
             "interpolation": filter, "offset": len(self.data)}
        )  # fmt: skip
        self.data.extend(array.tobytes())


def tent(image, inverse, side, fill=(0, 0, 0), bounds=None, cubic=False):
    """The sum that the crate's resampling is: `inverse` maps places of the result to places of the image."""
    pixels = np.asarray(image).astype(np.float64)
    left, top, right, bottom = bounds or (0, 0, image.width, image.height)
    a, b, c, d, e, f = inverse

    def weight(x):
        x = np.abs(x)
        if not cubic:
            return np.maximum(0.0, 1.0 - x)
        near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        return np.where(x < 1, near, np.where(x < 2, far, 0.0))

    area = abs(a * e - b * d)
    reach_x, reach_y = max(1.0, area / np.hypot(d, e)), max(1.0, area / np.hypot(a, b))
    out = np.zeros((side, side, 3), np.uint8)
    for j in range(side):
        for i in range(side):
            x = a * (i + 0.5) + b * (j + 0.5) + c
            y = d * (i + 0.5) + e * (j + 0.5) + f
            if not (left <= x < right and top <= y < bottom):
                out[j, i] = fill
                continue
            wx = weight((np.arange(left, right) + 0.5 - x) / reach_x)
            wy = weight((np.arange(top, bottom) + 0.5 - y) / reach_y)
            value = np.einsum("i,j,ijc->c", wy / wy.sum(), wx / wx.sum(), pixels[top:bottom, left:right])
            out[j, i] = np.clip(np.floor(value + 0.5), 0, 255)
    return out


def compose(outer, inner):
    """`outer(inner(p))`, both as `a b c d e f`."""
    m = lambda t: np.array([[t[0], t[1], t[2]], [t[3], t[4], t[5]], [0, 0, 1]])  # noqa: E731
    return (m(outer) @ m(inner))[:2].ravel().tolist()


def affine_params(angle, translate, scale, shear, fill):
    return {"degrees": angle, "translate": translate, "scale": scale, "shear": shear, "fill": fill}


def affine_cases(cases):
    """Affine changes alone: of an image that keeps its size, and with a crop."""
    changes = [
        (20.0, (0.1, -0.2), 1.2, (0.0, 0.0), [10, 200, 90]),
        (-75.0, (0.0, 0.0), 1.0, (12.0, -7.0), [0, 0, 0]),
        (0.0, (0.25, 0.0), 1.6, (-20.0, 0.0), [1, 2, 3]),
        (33.0, (-0.05, 0.02), 1.9, (3.0, 6.0), [0, 0, 0]),
    ]
    for angle, translate, scale, shear, fill in changes:
        pixels = [part * SIDE for part in translate]
        for filter, mode in (("bilinear", BILINEAR), ("nearest", NEAREST)):
            image = F.affine(SOURCES["hard"], angle, pixels, scale, shear, mode, fill)
            params = {"affine": affine_params(angle, translate, scale, shear, fill)}
            cases.add("affine", "hard", params, image, filter=filter)
    # One resampling: what shrinks is antialiased.
    crop = {"x": 3, "y": 2, "width": 22, "height": 27}
    centre = [crop["x"] + crop["width"] / 2, crop["y"] + crop["height"] / 2]
    for angle, translate, scale, shear, fill in [*changes, (30.0, (0.0, 0.1), 0.6, (5.0, 5.0), [9, 9, 9])]:
        pixels = [translate[0] * crop["width"], translate[1] * crop["height"]]
        inverse = F._get_inverse_affine_matrix(centre, angle, pixels, scale, shear)
        for side, flip in ((12, False), (20, True)):
            to_window = [crop["width"] / side, 0, crop["x"], 0, crop["height"] / side, crop["y"]]
            if flip:
                to_window = compose(to_window, [-1, 0, side, 0, 1, 0])
            inner = compose(inverse, to_window)
            params = {"crop": crop, "flip": flip, "affine": affine_params(angle, translate, scale, shear, fill)}
            for filter in ("bilinear", "bicubic")[: 1 if flip else 2]:
                image = tent(SOURCES["hard"], inner, side, fill, cubic=filter == "bicubic")
                cases.add("one-resampling", "hard", params, image, filter=filter)
        # Where `fill` comes into view, torchvision's second resampling blends it with the image at the border.
        if scale >= 1.5:
            turned = F.affine(SOURCES["smooth"], angle, pixels, scale, shear, BILINEAR, fill, centre)
            box = (crop["x"], crop["y"], crop["x"] + crop["width"], crop["y"] + crop["height"])
            image = turned.crop(box).resize((16, 16), Image.Resampling.BILINEAR)
            cases.add("chain", "smooth", {"crop": crop, "affine": params["affine"]}, image)


def shrunk_cases(cases):
    """So small that the crate shrinks by a whole number first."""
    for source in ("hard", "smooth"):
        for side, angle in ((5, 0.0), (4, 20.0), (3, -70.0)):
            inverse = F._get_inverse_affine_matrix([SIDE / 2, SIDE / 2], angle, [0.0, 0.0], 1.0, [0.0, 0.0])
            inner = compose(inverse, [SIDE / side, 0, 0, 0, SIDE / side, 0])
            params = {"affine": affine_params(angle, (0.0, 0.0), 1.0, (0.0, 0.0), [0, 0, 0])}
            cases.add(f"shrunk-{source}", source, params, tent(SOURCES[source], inner, side))


def chain_cases(cases):
    """A crop, a flip and operations of a policy, one after the other as torchvision does it."""
    crop = {"x": 1, "y": 4, "width": 28, "height": 25}
    box = (crop["x"], crop["y"], crop["x"] + crop["width"], crop["y"] + crop["height"])
    for ops in (
        [("Rotate", 22.5, {"rotate": 22.5})],
        [("ShearX", -0.3, {"shear-x": -0.3}), ("TranslateY", 4, {"translate-y": {"pixels": 4}})],
        [("Rotate", -60.0, {"rotate": -60.0}), ("Posterize", 4, {"posterize": 4})],
        [("Solarize", 60.0, {"solarize": 60.0}), ("ShearY", 0.2, {"shear-y": 0.2})],
    ):
        image = F.hflip(SOURCES["smooth"].crop(box).resize((24, 24), Image.Resampling.BILINEAR))
        for name, strength, _ in ops:
            image = autoaugment._apply_op(image, name, strength, BILINEAR, None)
        kind = "chain-posterized" if any(name == "Posterize" for name, *_ in ops) else "chain"
        cases.add(kind, "smooth", {"crop": crop, "flip": True, "ops": [op for *_, op in ops]}, image)


def erase_case(cases):
    """On the normalised tensor, and back to levels."""
    top, left, height, width = 4, 10, 12, 7
    tensor = F.normalize(F.to_tensor(SOURCES["hard"]), MEAN, STD)
    erased = F.erase(tensor, top, left, height, width, torch.zeros(3, 1, 1))
    levels = (erased * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]) * 255
    erase = {
        "top": (top + 0.5) / (SIDE - height + 1),
        "left": (left + 0.5) / (SIDE - width + 1),
        "height": height / SIDE,
        "width": width / SIDE,
        "fill": "mean",
    }
    cases.add("erase", "hard", {"erase": erase}, levels.round().permute(1, 2, 0).numpy().astype(np.uint8))


def large():
    """1600 x 1200 pixels without an edge or a wave shorter than the picture, in whole numbers."""
    y, x = np.mgrid[0:1200, 0:1600]
    red = 20 + x * 100 // 1600 + y * 100 // 1200
    green = 30 + (x - 800) ** 2 // 8000 + (y - 600) ** 2 // 6000
    blue = 230 - x * y // 9600
    return Image.fromarray(np.stack([red, green, blue], axis=-1).astype(np.uint8))


def large_cases(data):
    """torchvision's affine change of a large picture, and then its resized crop; no `fill` comes into view."""
    image, cases = large(), []
    for crop, side, (angle, translate, scale, shear) in (
        ((400, 300, 800, 600), 48, (17.0, (0.05, -0.1), 1.1, (0.0, 0.0))),
        ((500, 200, 500, 700), 40, (-40.0, (0.0, 0.02), 1.4, (8.0, -5.0))),
        ((600, 400, 300, 300), 56, (90.0, (0.1, 0.1), 0.8, (0.0, 0.0))),
    ):
        x, y, width, height = crop
        centre = [x + width / 2, y + height / 2]
        pixels = [translate[0] * width, translate[1] * height]
        turned = F.affine(image, angle, pixels, scale, shear, BILINEAR, [0, 0, 0], centre)
        result = F.resized_crop(turned, y, x, height, width, [side, side], BILINEAR)
        window = {"x": x, "y": y, "width": width, "height": height}
        params = {"crop": window, "affine": affine_params(angle, translate, scale, shear, [0, 0, 0])}
        cases.append({"params": params, "input": side, "offset": len(data)})
        data.extend(np.asarray(result).tobytes())
    return cases


def shifts():
    """RandAugment's shifts in pixels at sides where 150 / 331 of them is a whole number, and at others."""
    rows = []
    for side in (96, 299, 331, 384, 662, 993, 1655):
        values, _ = autoaugment.RandAugment()._augmentation_space(31, (side, side))["TranslateX"]
        rows.append({"side": side, "pixels": [int(float(value)) for value in values]})
    return rows


def crops():
    """Mean and quantiles of 20,000 draws of `RandomResizedCrop`."""
    torch.manual_seed(1)
    rows = []
    for width, height in ((500, 375), (640, 200)):
        image = torch.zeros(3, height, width)
        draws = [
            transforms.RandomResizedCrop.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(20_000)
        ]
        _, left, tall, wide = np.array(draws, dtype=np.float64).T
        row = {"width": width, "height": height}
        measures = {"area": tall * wide / (width * height), "ratio": wide / tall, "left": left / width}
        for name, values in measures.items():
            values = np.sort(values)
            row[name] = [values.mean(), *(values[int(part * len(values))] for part in (0.05, 0.25, 0.5, 0.75, 0.95))]
            row[name] = [round(float(value), 6) for value in row[name]]
        rows.append(row)
    return rows


def policies():
    """For each operation and step what torchvision passes on; the size of the image is 224."""
    spaces = {
        "trivial-augment-wide": autoaugment.TrivialAugmentWide()._augmentation_space(31),
        "rand-augment": autoaugment.RandAugment()._augmentation_space(31, (224, 224)),
    }
    tables = {}
    for name, space in spaces.items():
        rows = []
        for op, (strengths, signed) in space.items():
            values = [float(v) for v in strengths] if strengths.ndim else [0.0] * 31
            rows.append({"op": op, "signed": signed, "values": values})
        tables[name] = rows
    return tables


def mixtures():
    """MixUp and CutMix on two images of 4 x 4 pixels: with two, torchvision's partner is ours."""
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4).square() / 64
    labels = torch.tensor([2, 0])
    out = {"images": images.flatten().tolist(), "labels": labels.tolist(), "mixtures": []}
    for lam in (0.3, 0.875):
        mixup = v2.MixUp(alpha=1.0, num_classes=3)
        params = {"lam": lam, "labels": labels, "batch_size": 2}
        mixed, targets = mixup.transform(images, params), mixup.transform(labels, params)
        out["mixtures"].append(
            {"lambda": lam, "window": None, "images": mixed.flatten().tolist(), "targets": targets.flatten().tolist()}
        )
    for lam, x, y in ((0.3, 1, 3), (0.875, 3, 0), (0.6, 2, 2)):
        cutmix = v2.CutMix(alpha=1.0, num_classes=3)
        params = {**cut_params(cutmix, lam, x, y, images), "labels": labels, "batch_size": 2}
        mixed, targets = cutmix.transform(images, params), cutmix.transform(labels, params)
        left, top, right, bottom = params["box"]
        window = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        out["mixtures"].append(
            {"lambda": params["lam_adjusted"], "window": window, "images": mixed.flatten().tolist(),
             "targets": targets.flatten().tolist()}
        )  # fmt: skip
    cutmix, large = v2.CutMix(alpha=1.0, num_classes=3), torch.zeros(2, 3, 224, 224)
    out["windows"] = []
    for lam, x, y in ((0.1, 0, 223), (0.5, 100, 30), (0.77, 210, 5), (0.999, 5, 5), (0.0, 112, 112), (1.0, 9, 9)):
        params = cut_params(cutmix, lam, x, y, large)
        out["windows"].append({"lambda": lam, "centre": [x, y], "box": list(params["box"])})
    return out


def cut_params(cutmix, lam, x, y, images):
    """`CutMix.make_params` with given draws."""
    cutmix._dist = mock.Mock(sample=lambda shape: torch.tensor([lam], dtype=torch.float64))
    with mock.patch("torch.randint", side_effect=[torch.tensor([x]), torch.tensor([y])]):
        params = cutmix.make_params([images])
    return {**params, "box": tuple(int(edge) for edge in params["box"])}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for name, image in SOURCES.items():
        image.save(OUT / f"augment_{name}.png", optimize=True)
    cases = Cases()
    for op, change, sources in COLOURS:
        for source in sources.split():
            cases.add("colour", source, {"ops": [op]}, change(SOURCES[source]))
    for op, name, strength in GEOMETRY:
        image = autoaugment._apply_op(SOURCES["hard"], name, strength, BILINEAR, None)
        cases.add("geometry", "hard", {"ops": [op]}, image)
    cases.add("flip", "hard", {"vertical_flip": True}, F.vflip(SOURCES["hard"]))
    affine_cases(cases)
    shrunk_cases(cases)
    chain_cases(cases)
    erase_case(cases)
    large_rows = ",\n".join("    " + json.dumps(case) for case in large_cases(cases.data))
    (OUT / "augment.rgb").write_bytes(cases.data)
    lines = ",\n".join("    " + json.dumps(case) for case in cases.cases)
    rest = f'"policies": {json.dumps(policies())},\n  "mixing": {json.dumps(mixtures())}'
    rest += f',\n  "shifts": {json.dumps(shifts())},\n  "crops": {json.dumps(crops())}'
    rest += f',\n  "large": [\n{large_rows}\n  ]'
    (OUT / "augment.json").write_text(f'{{\n  "cases": [\n{lines}\n  ],\n  {rest}\n}}\n')
    print(f"{len(cases.cases)} cases, {len(cases.data)} bytes")


if __name__ == "__main__":
    main()
