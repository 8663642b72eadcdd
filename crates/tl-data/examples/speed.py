"""torchvision's loader on the files that `speed.rs` measures: random resized crop to 224, flip, normalise.

    python3 speed.py DIR [EPOCHS] [WORKERS …]

DIR holds one folder per class, or `train` and `val` of such folders.
"""

import sys
import time
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader
from torchvision import datasets, transforms


def main():
    root = Path(sys.argv[1])
    epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    workers = [int(n) for n in sys.argv[3:]] or [0, 1, 2]
    torch.set_num_threads(1)
    transform = transforms.Compose([
        transforms.RandomResizedCrop(224, scale=(0.35, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    parts = [root / part for part in ("train", "val") if (root / part).is_dir()] or [root]
    data = ConcatDataset([datasets.ImageFolder(part, transform) for part in parts])
    print(f"{len(data)} images, torch {torch.__version__}, {Image.__name__} {Image.__version__}")
    for count in workers:
        loader = DataLoader(data, batch_size=32, shuffle=True, num_workers=count, persistent_workers=count > 0)
        for _ in loader:
            pass
        start = time.perf_counter()
        for _ in range(epochs):
            for _ in loader:
                pass
        seconds = time.perf_counter() - start
        print(f"{count} workers: {len(data) * epochs / seconds:.1f} images/s")


if __name__ == "__main__":
    main()
