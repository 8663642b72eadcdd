"""What `speed.rs` measures, done by torchvision, OpenCV, albumentations and Keras on the same files.

    python3 speed.py DIR [loaders|crop|operations|keras] [ROUNDS] [--ours COMMAND]

`loaders` and `crop` need torch and torchvision, `operations` opencv-python-headless and, for more, albumentations and torchvision,
`keras` Keras 3 with any backend. DIR holds one folder per class, or `train` and `val` of such folders. With `--ours` the
command, such as "cargo run --release -q -p tl-data --example speed --", is run first, and its operations are printed
beside. One thread, but for the workers of `loaders`; of several rounds the fastest counts. `crop` takes turns with `--ours`
ROUNDS times, each side the fastest of three epochs, and prints the ratios and their median.
"""

import argparse
import shlex
import statistics
import subprocess
import time
from pathlib import Path

SIDE, INPUTS = 224, 64


def parts(root):
    return [root / part for part in ("train", "val") if (root / part).is_dir()] or [root]


def fastest(rounds, work):
    best = float("inf")
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def ours(command, root, mode, rounds):
    """The table that our program prints, by name; its other lines go to the screen."""
    if not command:
        return {}
    done = subprocess.run([*shlex.split(command), root, mode, str(rounds)], stdout=subprocess.PIPE, text=True, check=True)
    table = {}
    for line in done.stdout.splitlines():
        name, *numbers = line.split("\t")
        if numbers:
            table[name] = float(numbers[0])
        else:
            print("ours:", line)
    return table


def images(root, **crop):
    import torch
    from torch.utils.data import ConcatDataset
    from torchvision import datasets, transforms

    torch.set_num_threads(1)
    transform = transforms.Compose([
        transforms.RandomResizedCrop(SIDE, **crop),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])  # fmt: skip
    return ConcatDataset([datasets.ImageFolder(part, transform) for part in parts(root)])


def crop(root, rounds, command):
    from torch.utils.data import DataLoader

    data = images(root)
    loader = DataLoader(data, batch_size=32, shuffle=True, num_workers=2, persistent_workers=True)

    def theirs():
        return len(data) / fastest(2, lambda: sum(1 for _ in loader))

    ratios = []
    before = theirs()
    for _ in range(rounds):
        done = subprocess.run([*shlex.split(command), root, "crop", "3"], stdout=subprocess.PIPE, text=True, check=True)
        own = float(done.stdout.split("flip: ")[1].split()[0])
        after = theirs()
        ratios.append(2 * own / (before + after))
        print(f"torchvision, 2 workers: {before:.0f}; ours: {own:.0f}; torchvision: {after:.0f} images/s: {ratios[-1]:.2f}")
        before = after
    print(f"median of {rounds}: {statistics.median(ratios):.2f}")


def loaders(root, rounds):
    import torch
    from torch.utils.data import DataLoader

    data = images(root, scale=(0.35, 1.0))
    print(f"{len(data)} images, torch {torch.__version__}")
    for count in (0, 1, 2):
        loader = DataLoader(data, batch_size=32, shuffle=True, num_workers=count, persistent_workers=count > 0)
        seconds = fastest(rounds, lambda: sum(1 for _ in loader))
        print(f"torchvision, {count} workers: {len(data) / seconds:.1f} images/s")


def keras(root, rounds):
    import keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(
        rotation_range=20, zoom_range=0.2, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True
    )
    flows = [generator.flow_from_directory(part, (SIDE, SIDE), batch_size=32) for part in parts(root)]
    images = sum(flow.n for flow in flows)
    seconds = fastest(rounds, lambda: [flow[i] for flow in flows for i in range(len(flow))])
    print(f"Keras {keras.__version__}, rotation + zoom + shift + flip: {images / seconds:.1f} images/s")


def operations(root, rounds, table):
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    files = sorted(path for part in parts(root) for path in part.rglob("*") if path.is_file())[:INPUTS]
    raw = [path.read_bytes() for path in files]
    photos = [cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB) for data in raw]
    inputs = [cv2.resize(photo, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for photo in photos]
    half, linear = SIDE / 2, cv2.INTER_LINEAR
    size = (SIDE, SIDE)

    def affine(matrix):
        return lambda image: cv2.warpAffine(image, np.float32(matrix), size, flags=linear)

    def lut(new):
        new = np.clip(new, 0, 255).astype(np.uint8)
        return lambda image: cv2.LUT(image, new)

    levels = np.arange(256, dtype=np.float32)

    def contrast(image):
        mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
        return cv2.LUT(image, np.clip(mean + 1.3 * (levels - mean), 0, 255).astype(np.uint8))

    def saturation(image):
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return cv2.addWeighted(image, 1.3, grey, -0.3, 0)

    turned = ((np.arange(256) + 18) % 180).astype(np.uint8)

    def hue(image):
        h, s, v = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
        return cv2.cvtColor(cv2.merge([cv2.LUT(h, turned), s, v]), cv2.COLOR_HSV2RGB)

    kernel = np.float32([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13

    def sharpness(image):
        return cv2.addWeighted(image, 1.5, cv2.filter2D(image, -1, kernel), -0.5, 0)

    def autocontrast(image):
        def stretched(channel):
            low, high, *_ = cv2.minMaxLoc(channel)
            return np.clip((levels - low) * 255 / max(high - low, 1), 0, 255)

        return cv2.LUT(image, np.stack([stretched(c) for c in cv2.split(image)], axis=-1).astype(np.uint8)[None])

    def erase(noise):
        def changed(image):
            image = image.copy()
            part = image[27:117, 27:117]
            part[...] = np.random.randint(0, 256, part.shape, np.uint8) if noise else (124, 116, 104)
            return image

        return changed

    mean = np.float32([0.485, 0.456, 0.406])
    scale = 1 / (255 * np.float32([0.229, 0.224, 0.225]))
    crops = {id(photo): np.ascontiguousarray(photo[: photo.shape[0] * 4 // 5, : photo.shape[1] * 4 // 5]) for photo in photos}
    cos, sin = np.cos(np.radians(20)), np.sin(np.radians(20))
    turn = [[cos, sin, half - cos * half - sin * half], [-sin, cos, half + sin * half - cos * half]]
    table_of = {
        "resized crop": lambda photo: cv2.resize(crops[id(photo)], size, interpolation=cv2.INTER_AREA),
        "normalise": lambda image: cv2.multiply(cv2.subtract(image, mean * 255, dtype=cv2.CV_32F), scale),
        "flip": lambda image: cv2.flip(image, 1),
        "vertical flip": lambda image: cv2.flip(image, 0),
        "erase": erase(False),
        "erase with noise": erase(True),
        "shear": affine([[1, -0.2, 0], [0, 1, 0]]),
        "translate": affine([[1, 0, 9], [0, 1, 0]]),
        "rotate": affine(turn),
        "brightness": lut(1.3 * levels),
        "contrast": contrast,
        "saturation": saturation,
        "hue": hue,
        "sharpness": sharpness,
        "posterize": lut(np.arange(256) & 0xF0),
        "solarize": lut(np.where(levels < 128, levels, 255 - levels)),
        "autocontrast": autocontrast,
        "equalize": lambda image: cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)]),
        "invert": cv2.bitwise_not,
        "grayscale": lambda image: cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB),
        "gaussian blur": lambda image: cv2.GaussianBlur(image, (23, 23), 1.5),
    }
    theirs = {"decode": fastest(rounds, lambda: [cv2.imdecode(np.frombuffer(data, np.uint8), 1) for data in raw])}
    for name, change in table_of.items():
        given = photos if name == "resized crop" else inputs
        theirs[name] = fastest(rounds, lambda: [change(image) for image in given])
    library = albumentations_table(inputs, rounds)
    print(f"{'µs/image':24}{'ours':>8}{f'OpenCV {cv2.__version__}':>16}{'albumentations':>16}")
    for name in [*theirs, *(name for name in table if name not in theirs)]:
        cells = [table.get(name), micros(theirs.get(name), len(files)), micros(library.get(name), len(files))]
        widths = (8, 16, 16)
        print(f"{name:24}" + "".join(f"{'' if c is None else round(c):>{w}}" for c, w in zip(cells, widths)))


def micros(seconds, images):
    return None if seconds is None else 1e6 * seconds / images


def albumentations_table(inputs, rounds):
    """Seconds for the operations that albumentations has under the same name."""
    try:
        import albumentations as A
    except ImportError:
        return {}
    same = dict(p=1.0)
    transforms = {
        "flip": A.HorizontalFlip(**same),
        "vertical flip": A.VerticalFlip(**same),
        "erase": A.CoarseDropout((1, 1), (0.4, 0.4), (0.4, 0.4), **same),
        "erase with noise": A.CoarseDropout((1, 1), (0.4, 0.4), (0.4, 0.4), fill="random", **same),
        "shear": A.Affine(shear={"x": (11.3, 11.3), "y": (0, 0)}, **same),
        "translate": A.Affine(translate_px={"x": (9, 9), "y": (0, 0)}, **same),
        "rotate": A.Rotate((20, 20), border_mode=0, **same),
        "brightness": A.ColorJitter((1.3, 1.3), (1, 1), (1, 1), (0, 0), **same),
        "contrast": A.ColorJitter((1, 1), (1.3, 1.3), (1, 1), (0, 0), **same),
        "saturation": A.ColorJitter((1, 1), (1, 1), (1.3, 1.3), (0, 0), **same),
        "hue": A.ColorJitter((1, 1), (1, 1), (1, 1), (0.1, 0.1), **same),
        "sharpness": A.Sharpen((0.5, 0.5), **same),
        "posterize": A.Posterize(4, **same),
        "solarize": A.Solarize((0.5, 0.5), **same),
        "autocontrast": A.AutoContrast(**same),
        "equalize": A.Equalize(by_channels=True, **same),
        "invert": A.InvertImg(**same),
        "grayscale": A.ToGray(**same),
        "gaussian blur": A.GaussianBlur((23, 23), (1.5, 1.5), **same),
        "normalise": A.Normalize(**same),
    }
    return {name: fastest(rounds, lambda: [t(image=image) for image in inputs]) for name, t in transforms.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("mode", nargs="?", choices=["loaders", "crop", "operations", "keras"], default="loaders")
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--ours", metavar="COMMAND")
    args = parser.parse_args()
    if args.mode == "crop":
        if not args.ours:
            parser.error("crop takes turns with --ours COMMAND")
        return crop(args.dir, args.rounds, args.ours)
    table = ours(args.ours, args.dir, args.mode, args.rounds)
    if args.mode == "operations":
        operations(args.dir, args.rounds, table)
    else:
        {"loaders": loaders, "keras": keras}[args.mode](args.dir, args.rounds)


if __name__ == "__main__":
    main()
