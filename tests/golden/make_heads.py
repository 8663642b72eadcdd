"""Golden outputs of heads, for crates/tl-heads/tests/golden.rs.

    pip install torch==2.11.0 torchvision==0.26.0 timm==1.0.31 numpy
    python tests/golden/make_heads.py

Pools are timm's where it has them. timm has no GeM: that one is `lp_pool2d`, which is GeM but for the number of
positions. The order of fastai's `AdaptiveConcatPool2d` and the layers of its `create_head` are those of fastai 2.8.12,
written out below so that it need not be installed. Losses are `torch.nn.functional`'s; the focal loss of bits is
torchvision's, and that of classes, which neither has, is its formula.

Inputs and weights are formulas of a tensor's name and the index in it, which the Rust test applies too, so
`heads.json` holds outputs only; of large tensors a summary and a few samples.
"""

import json
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from timm.layers import SelectAdaptivePool2d
from timm.models.vision_transformer import global_pool_nlc
from torch import nn
from torchvision.ops import sigmoid_focal_loss

OUT = Path(__file__).parents[2] / "crates/tl-heads/tests/data"


def wave(name, shape):
    """sin(phase + 0.7 i), the phase from the bytes of the name, in float64."""
    n = int(np.prod(shape))
    phase = sum((i + 1) * b for i, b in enumerate(name.encode())) % 997
    return np.sin(phase + 0.7 * np.arange(n, dtype=np.float64)).reshape(shape)


def tensor(name, shape):
    return torch.from_numpy(wave(name, shape).astype(np.float32))


def formula(name, shape):
    """The value of one tensor of a head, float32."""
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


def full(x):
    """Shape and all values, to nine digits, which tell any two f32 apart."""
    values = [float(f"{v:.9g}") for v in x.detach().flatten().tolist()]
    return {"shape": list(x.shape), "values": values}


def samples(x):
    """Shape and at most 16 evenly spaced values."""
    whole = full(x)
    at = [int(i) for i in np.linspace(0, x.numel() - 1, min(16, x.numel()))]
    return {"shape": whole["shape"], "at": at, "values": [whole["values"][i] for i in at]}


def gem(x):
    """Over a map: (Σ x³)^⅓, divided by the root of the number of positions."""
    size = x.shape[-2:]
    return F.lp_pool2d(x.clamp(min=1e-6), 3.0, size).flatten(1) / float(np.prod(size)) ** (1 / 3)


def concat(x):
    """fastai: torch.cat([self.mp(x), self.ap(x)], 1)."""
    return torch.cat([nn.AdaptiveMaxPool2d(1)(x), nn.AdaptiveAvgPool2d(1)(x)], 1).flatten(1)


def pool_map(name, x):
    timm = {"gap": "avg", "max": "max"}
    if name in timm:
        return SelectAdaptivePool2d(pool_type=timm[name], flatten=True)(x)
    return {"gem": gem, "concat": concat, "flatten": lambda x: nn.Flatten()(x)}[name](x)


def pool_tokens(name, x, prefix):
    timm = {"gap": "avg", "max": "max", "cls": "token"}
    if name in timm:
        return global_pool_nlc(x, timm[name], num_prefix_tokens=prefix)
    # The patches as a map of one row: [N, T, C] to [N, C, 1, T].
    patches = x[:, prefix:]
    return patches.flatten(1) if name == "flatten" else pool_map(name, patches.transpose(1, 2).unsqueeze(2))


def pools():
    cases = []

    def add(pool, features, x, y):
        """Also the gradient of Σ y², in which all of y counts."""
        y.square().sum().backward()
        cases.append({"pool": pool, **features, "output": full(y), "gradient": full(x.grad)})

    for name in ["gap", "max", "concat", "gem", "flatten"]:
        x = tensor("features", (2, 5, 3, 4)).requires_grad_()
        add(name, {"input": list(x.shape), "prefix": None}, x, pool_map(name, x))
    for prefix in [0, 1, 3]:
        for name in ["gap", "max", "concat", "gem", "flatten"] + ["cls"] * (prefix > 0):
            x = tensor("features", (2, 7, 4)).requires_grad_()
            add(name, {"input": list(x.shape), "prefix": prefix}, x, pool_tokens(name, x, prefix))
    return cases


def bits(z, t, focal, **weights):
    """torchvision's focal loss has no such weights: with them, the factor that it has without."""
    plain = F.binary_cross_entropy_with_logits(z, t, reduction="none")
    losses = F.binary_cross_entropy_with_logits(z, t, reduction="none", **weights)
    return losses if focal == 0 else losses * sigmoid_focal_loss(z, t, alpha=-1, gamma=focal) / plain


def binary(z, y, s, w, focal):
    """A weight per class is a weight of all and one more of the positive term."""
    t = y.float().unsqueeze(1) * (1 - s) + s / 2
    kw = {} if w is None else {"weight": w[0], "pos_weight": w[1] / w[0]}
    return bits(z, t, focal, **kw).squeeze(1)


def multi_label(z, y, s, w, focal):
    return bits(z, y * (1 - s) + s / 2, focal, pos_weight=w).mean(1)


def regression(z, y, _, w, __):
    w = None if w is None else w.expand_as(z)
    return F.mse_loss(z, y, weight=w, reduction="none").mean(1)


def softmax(z, y, s, w, focal):
    if focal == 0:
        return F.cross_entropy(z, y, weight=w, label_smoothing=s, reduction="none")
    p = z.softmax(1)
    t = F.one_hot(y, z.shape[1]) * (1 - s) + s / z.shape[1]
    return -((1 if w is None else w) * t * (1 - p) ** focal * p.log()).sum(1)


def losses():
    n = 5
    classes, ones = torch.tensor([2, 0, 3, 1, 2]), torch.tensor([1, 0, 0, 1, 1])
    labels = (tensor("labels", (n, 3)) > 0).float()
    tasks = [
        ({"kind": "softmax", "classes": 4}, (n, 4), classes, [0.5, 2.0, 1.25, 0.75], softmax),
        ({"kind": "binary"}, (n, 1), ones, [0.75, 2.5], binary),
        ({"kind": "multi-label", "labels": 3}, (n, 3), labels, [1.5, 0.5, 4.0], multi_label),
        ({"kind": "regression", "targets": 2}, (n, 2), tensor("targets", (n, 2)), [0.5, 3.0], regression),
    ]
    says = {
        "softmax": lambda z: z.softmax(1),
        "binary": lambda z: torch.cat([1 - z.sigmoid(), z.sigmoid()], 1),
        "multi-label": lambda z: z.sigmoid(),
        "regression": lambda z: z,
    }
    cases = []
    for focal, (task, shape, targets, weights, loss) in product([0.0, 0.5, 2.0], tasks):
        # A regression has no focal loss, and ignores it.
        for smoothing, w in product([0.0, 0.1] if focal == 0 or loss != regression else [], [None, weights]):
            z = (4 * tensor("logits", shape)).requires_grad_()
            each = loss(z, targets, smoothing, None if w is None else torch.tensor(w), focal)
            each.mean().backward()
            case = {"task": task, "targets": full(targets), "smoothing": smoothing, "weights": w}
            case |= {"logits": full(z), "losses": full(each), "gradient": full(z.grad)}
            cases.append(case | {"probabilities": full(says[task["kind"]](z)), "focal": focal})
    return cases


def head(p0, p1):
    """fastai's create_head(6, 3, ps=...), but its dense layers have no bias."""
    net = nn.Sequential(
        nn.BatchNorm1d(12), nn.Dropout(p0), nn.Linear(12, 512), nn.ReLU(),
        nn.BatchNorm1d(512), nn.Dropout(p1), nn.Linear(512, 3),
    )  # fmt: skip
    names = {"head.bn0": 0, "head.0": 2, "head.bn1": 4, "head.1": 6}
    params = {
        f"{ours}.{key}": value
        for ours, i in names.items()
        for key, value in net[i].state_dict(keep_vars=True).items()
        if key != "num_batches_tracked"
    }
    with torch.no_grad():
        for name, value in params.items():
            value.copy_(formula(name, tuple(value.shape)))
    return net, params


def heads():
    net, _ = head(0.25, 0.5)
    x = tensor("features", (4, 6, 3, 4))
    evaluated = net.eval()(concat(x))
    net, params = head(0.0, 0.0)
    x.requires_grad_()
    trained = net.train()(concat(x))
    loss = F.cross_entropy(trained, torch.tensor([0, 2, 1, 1]), label_smoothing=0.1)
    loss.backward()
    return {
        "input": list(x.shape),
        "eval": full(evaluated),
        "train": full(trained),
        "loss": loss.item(),
        "running": {k: samples(v) for k, v in params.items() if "running" in k},
        "gradients": {k: samples(v.grad) for k, v in params.items() if v.grad is not None},
        "input_gradient": samples(x.grad),
    }


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "heads.json"
    lines = lambda cases: "[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]"  # noqa: E731
    whole = json.dumps(heads(), indent=1)
    path.write_text(f'{{"pools": {lines(pools())},\n"losses": {lines(losses())},\n"head": {whole}}}\n')
    print(path, path.stat().st_size)


main()
