"""Golden steps of training, for crates/tl-train/tests/step.rs.

    pip install torch==2.11.0 timm==1.0.31 numpy
    python tests/golden/make_step.py

Each case takes three steps on the same eight images by plain PyTorch: timm's net with formula weights and a linear head,
cross-entropy with label smoothing, parameter groups with a rate that falls from stage to stage towards the input, and
weight decay on kernels and matrices. In float64, so that what the Rust test measures is its own rounding; the weights
and the images are those of float32. The net is EfficientNet-B0, because it is smooth: behind a ReLU a rounding error
that takes a value to the other side of zero changes single gradients by per cent.

Kept of each tensor that trains, after the first step and the last, is by how much it has moved: the root mean square,
and as fractions of it two projections on directions that are formulas of the tensor's name. The cases of one step at a
rate of 1 keep the gradient itself. Images, labels and weights are formulas that the Rust test applies too.
"""

import json
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F

OUT = Path(__file__).parents[2] / "crates/tl-train/tests/data"
SIZE, IMAGES, CLASSES = 64, 8, 3
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMOOTHING = 0.1
STEPS = 3
SGD = dict(momentum=0.9, nesterov=True, weight_decay=0.05)
ADAMW = dict(betas=(0.9, 0.999), eps=1e-3, weight_decay=0.5)

# Rates are those of the head; the last stage has half of it, and each stage below `factor` of the one above.
CASES = {
    "gradient, batch-norm frozen": dict(lowest=0, norm="frozen", make=torch.optim.SGD, rate=1.0),
    "gradient, batch-norm trains": dict(lowest=0, norm="train", make=torch.optim.SGD, rate=1.0),
    "sgd, batch-norm frozen": dict(lowest=0, norm="frozen", make=torch.optim.SGD, rate=0.5, factor=0.8, **SGD),
    "sgd, batch-norm trains": dict(lowest=0, norm="train", make=torch.optim.SGD, rate=0.05, factor=0.8, **SGD),
    "adamw, batch-norm frozen": dict(lowest=0, norm="frozen", make=torch.optim.AdamW, rate=0.002, factor=0.8, **ADAMW),
    "adamw, batch-norm trains": dict(lowest=0, norm="train", make=torch.optim.AdamW, rate=0.002, factor=0.8, **ADAMW),
    # The lower half frozen: its norms keep their statistics while those above move.
    "adamw, upper stages": dict(lowest=5, norm="train", make=torch.optim.AdamW, rate=0.002, factor=0.8, **ADAMW),
    # Two batches of unlike size make one step, and its gradient is longer than allowed.
    "sgd, clipped sum of batches": dict(
        lowest=0, norm="frozen", make=torch.optim.SGD, rate=0.5, factor=0.8, batch=5, clip=0.05, **SGD
    ),
}


def wave(name, shape):
    """As in make_backbones.py."""
    phase = sum((i + 1) * b for i, b in enumerate(name.encode())) % 997
    table = np.sin(phase + 0.7 * np.arange(7919, dtype=np.float64))
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    return table[i * i % 7919].reshape(shape)


def formula(name, shape):
    """As in make_backbones.py."""
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


def batch():
    """Sawtooth waves, another slope in each image and colour. The label is the number of the image modulo the classes."""
    i, y, x, c = np.indices((IMAGES, SIZE, SIZE, 3))
    levels = ((i + 2) * x + 2 * (c + 3) * y + 50 * i + 80 * c) % 256
    pixels = (levels.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.arange(IMAGES) % CLASSES


class Net(torch.nn.Module):
    """timm's, with a head named as in this project."""

    def __init__(self):
        super().__init__()
        self.net = timm.create_model("efficientnet_b0", pretrained=False, num_classes=CLASSES)

    def forward(self, x):
        return self.net(x)

    def tensors(self):
        """Ours by name, buffers too."""
        ours = lambda name: name.replace("classifier.", "head.0.")  # noqa: E731
        state = self.net.state_dict(keep_vars=True)
        return {ours(k): v for k, v in state.items() if not k.endswith("num_batches_tracked")}


STAGES = 8


def stage(name):
    if name.startswith("head."):
        return STAGES
    if name.startswith("blocks."):
        return int(name.split(".")[1]) + 1
    return 0 if name.startswith(("conv_stem.", "bn1.")) else STAGES - 1


def prepare(case, kind):
    model = Net()
    tensors = model.tensors()
    with torch.no_grad():
        for name, value in tensors.items():
            value.copy_(formula(name, tuple(value.shape)))
    model.to(kind)
    tensors = model.tensors()
    for path, module in model.net.named_modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            trains = case["norm"] == "train" and stage(f"{path}.") >= case["lowest"]
            module.train(trains)
            module.requires_grad_(trains)
    for name, value in tensors.items():
        if stage(name) < case["lowest"]:
            value.requires_grad_(False)
    groups = []
    for name, value in tensors.items():
        if value.requires_grad:
            below = STAGES - 1 - stage(name)
            rate = case["rate"] if below < 0 else case["rate"] / 2 * case.get("factor", 1.0) ** below
            decay = case.get("weight_decay", 0.0) if value.ndim > 1 else 0.0
            groups.append({"params": [value], "lr": rate, "weight_decay": decay})
    kwargs = {k: case[k] for k in ("momentum", "nesterov", "betas", "eps") if k in case}
    return model, tensors, case["make"](groups, lr=case["rate"], **kwargs)


def trained(case, tensors):
    """All that moves: what has gradients, and the statistics beside it."""
    follows = lambda name: case["norm"] == "train" and "running" in name and stage(name) >= case["lowest"]  # noqa: E731
    return [name for name, value in tensors.items() if value.requires_grad or follows(name)]


def direction(name, n):
    """sin(phase + 1.1 (i³ mod 7907)): unlike the weights, so that their decay does not outweigh all else along it."""
    phase = sum((i + 1) * b for i, b in enumerate(name.encode())) % 997
    table = np.sin(phase + 1.1 * np.arange(7907, dtype=np.float64))
    return table[np.arange(n, dtype=np.int64) ** 3 % 7907]


def moved(name, change):
    """Root mean square, and two projections as fractions of it. All 0 for what is rounding error even here: a shift
    before another norm has no gradient."""
    flat = change.detach().double().contiguous().flatten().numpy()
    rms = np.sqrt(np.mean(flat**2))
    if rms < 1e-11:
        return [0, 0, 0]
    along = [np.dot(flat, direction(f"{name} {k}", len(flat))) / np.sqrt(len(flat)) for k in (1, 2)]
    return [float(f"{rms:.9g}"), *(round(p / rms, 8) for p in along)]


def run(case, kind=torch.float64):
    model, tensors, optimizer = prepare(case, kind)
    before = {name: value.detach().clone() for name, value in tensors.items()}
    xs, labels = batch()
    xs = xs.to(kind)
    losses, after = [], []
    gradient = "momentum" not in case and "betas" not in case
    for step in range(1 if gradient else STEPS):
        optimizer.zero_grad()
        total = 0.0
        for part in torch.arange(IMAGES).split(case.get("batch", IMAGES)):
            logits = model(xs[part])
            total += F.cross_entropy(logits, labels[part], reduction="sum").item()
            loss = F.cross_entropy(logits, labels[part], label_smoothing=SMOOTHING)
            (loss * len(part) / IMAGES).backward()
        losses.append(total / IMAGES)
        if "clip" in case:
            params = [p for group in optimizer.param_groups for p in group["params"]]
            norm = torch.nn.utils.clip_grad_norm_(params, case["clip"])
            assert norm > case["clip"], norm
        grads = {name: value.grad.clone() for name, value in tensors.items() if value.grad is not None}
        optimizer.step()
        if gradient:
            # Running statistics have none, and are compared by how they moved.
            change = {name: grads.get(name, value.detach() - before[name]) for name, value in tensors.items()}
        elif step in (0, STEPS - 1):
            change = {name: value.detach() - before[name] for name, value in tensors.items()}
        else:
            continue
        after.append({name: moved(name, change[name]) for name in trained(case, tensors)})
    return {"losses": losses, "after": after}


def main():
    cases = {name: run(case) for name, case in CASES.items()}
    names = list(Net().tensors())
    lines = []
    for name in names:
        row = [[numbers for table in case["after"] for numbers in table.get(name, [])] for case in cases.values()]
        lines.append(f"{json.dumps(name)}:{json.dumps(row, separators=(',', ':'))}")
    heads = [json.dumps({"name": name, "losses": case["losses"]}) for name, case in cases.items()]
    path = OUT / "step.json"
    path.write_text('{"cases": [\n' + ",\n".join(heads) + '\n],\n"tensors": {\n' + ",\n".join(lines) + "\n}}\n")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
