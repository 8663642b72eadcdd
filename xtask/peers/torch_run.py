"""A program that trains a head on a frozen net, as tutorials of PyTorch have it, on the embedded set: what `tl finetune
--preset feature-extraction` does there, of the same images through the same net.

    python torch_run.py through|kept

`through` sends every batch of three epochs through the net; `kept` computes the features once, and trains 30 epochs on them.
The weights are random, which costs as much.
"""

import sys

import timm
import torch
from rows import ROOT, has_bf16
from torchvision import datasets, transforms

DATA = ROOT / "datasets/fashion-mnist-small"
BATCH = 16


def batches(part):
    transform = transforms.Compose([
        transforms.Grayscale(3),
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([127 / 255] * 3, [128 / 255] * 3),
    ])  # fmt: skip
    data = datasets.ImageFolder(DATA / part, transform)
    return torch.utils.data.DataLoader(data, BATCH, shuffle=part == "train", num_workers=torch.get_num_threads())


def main():
    net = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval().to(memory_format=torch.channels_last)
    head = torch.nn.Linear(net.num_features, 10)
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3)

    @torch.no_grad()
    def features(x):
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
            return net(x.to(memory_format=torch.channels_last)).float()

    def epoch(train, val):
        for x, y in train:
            torch.nn.functional.cross_entropy(head(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            right = sum((head(x).argmax(1) == y).sum().item() for x, y in val)
        print(f"{right} right")

    train, val = batches("train"), batches("val")
    if sys.argv[1] == "through":
        for _ in range(3):
            epoch(((features(x), y) for x, y in train), ((features(x), y) for x, y in val))
        return

    def kept(part):
        rows = [(features(x), y) for x, y in part]
        return torch.cat([x for x, _ in rows]), torch.cat([y for _, y in rows])

    (x, y), held = kept(train), kept(val)
    for _ in range(30):
        epoch(((x[at], y[at]) for at in torch.randperm(len(x)).split(BATCH)), [held])


main()
