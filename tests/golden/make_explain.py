"""Golden Grad-CAM maps of pytorch-grad-cam, for crates/tl-train/tests/explain.rs.

    pip install torch==2.11.0 torchvision==0.26.0 timm==1.0.31 grad-cam==1.5.5
    python tests/golden/make_explain.py

Nets and inputs are filled from the formulas of make_backbones.py (which the Rust test applies too), with a head of three
classes of its own behind the net's usual pooling. Maps are kept as they are before they are scaled to 0..1.
"""

import json
import sys
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision

sys.path.insert(0, str(Path(__file__).parent))
from make_backbones import fill, formula, image

from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

OUT = Path(__file__).parents[2] / "crates/tl-train/tests/data/explain.json"
CLASSES = 3


def with_head(net, name, width):
    """The net with a last layer of three classes, which has the names that tl gives it."""
    head = torch.nn.Linear(width, CLASSES)
    with torch.no_grad():
        head.weight.copy_(formula("head.0.weight", (CLASSES, width)))
        head.bias.copy_(formula("head.0.bias", (CLASSES,)))
    parent, _, last = name.rpartition(".")
    setattr(net.get_submodule(parent) if parent else net, last, head)
    return net.eval()


def tokens(xs):
    """`[N, 1 + h w, C]` to `[N, C, h, w]`, without the class token."""
    side = int((xs.shape[1] - 1) ** 0.5)
    return xs[:, 1:].reshape(xs.shape[0], side, side, -1).permute(0, 3, 1, 2)


def nets():
    resnet = fill(torchvision.models.resnet18(weights=None))
    yield "resnet18", "", with_head(resnet, "fc", 512), "layer4", (2, 3, 96, 64), None
    resnet = fill(torchvision.models.resnet18(weights=None))
    yield "resnet18", "layer3.0", with_head(resnet, "fc", 512), "layer3.0", (1, 3, 64, 64), None
    mobile = fill(timm.create_model("mobilenetv2_100", pretrained=False))
    yield "mobilenet-v2", "", with_head(mobile, "classifier", 1280), "bn2", (2, 3, 96, 96), None
    convnext = fill(timm.create_model("convnext_tiny", pretrained=False))
    yield "convnext-tiny", "", with_head(convnext, "head.fc", 768), "stages.3", (1, 3, 96, 96), None
    vit = fill(timm.create_model("vit_small_patch16_224", pretrained=False, img_size=224, dynamic_img_size=True))
    yield "vit-small-patch16", "", with_head(vit, "head", 384), "blocks.10", (2, 3, 64, 64), tokens


def main():
    cases = []
    for card, layer, net, target, shape, reshape in nets():
        xs = image(shape)
        for asked in range(CLASSES):
            cam = GradCAM(model=net, target_layers=[net.get_submodule(target)], reshape_transform=reshape)
            targets = [ClassifierOutputTarget(asked)] * shape[0]
            cam(input_tensor=xs, targets=targets)
            seen = cam.activations_and_grads
            activations, gradients = seen.activations[0].numpy(), seen.gradients[0].numpy()
            maps = cam.get_cam_image(xs, net.get_submodule(target), targets, activations, gradients, False)
            maps = np.maximum(maps, 0)
            logits = net(xs).detach().numpy()
            seen.release()
            short = lambda a: [float(f"{v:.6g}") for v in a.flatten()]
            cases.append({"card": card, "layer": layer, "input": list(shape), "class": asked,
                          "logits": short(logits[:, asked]), "map": list(maps.shape), "values": short(maps)})
            print(card, layer, asked, maps.shape, maps.max())
    OUT.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
    print(OUT, OUT.stat().st_size)


if __name__ == "__main__":
    main()
