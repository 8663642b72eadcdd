"""What PyTorch does of the same work: forward passes and training steps of torchvision's and timm's nets, a head on kept
features, torchvision's `DataLoader`, and a whole program that trains a head.

Names are `forward NET`, `step NET PART`, `cached`, `loader KIND` and `run`; see `rows.py`. Every name gets a row for each way
in which a user of PyTorch would go, from the plainest to the best known here.
"""

import subprocess
import sys

import timm
import torch
import torchvision
from rows import ROOT, Work, main

BATCH = 16
NETS = {
    "resnet50": lambda: torchvision.models.resnet50(),
    "mobilenet-v2": lambda: torchvision.models.mobilenet_v2(),
    "efficientnet-lite0": lambda: timm.create_model("tf_efficientnet_lite0"),
    "vgg16": lambda: torchvision.models.vgg16(),
    "inception-v3": lambda: timm.create_model("inception_v3"),
    "convnext-tiny": lambda: torchvision.models.convnext_tiny(),
    "vit-small-patch16": lambda: timm.create_model("vit_small_patch16_224"),
}
# The stages of the product as lists of modules, lowest first, and what makes logits of the last one.
STAGES = {
    "resnet50": lambda net: (
        [[net.conv1, net.bn1, net.relu, net.maxpool], [net.layer1], [net.layer2], [net.layer3], [net.layer4]],
        [net.avgpool, torch.nn.Flatten(), net.fc],
    ),
    "mobilenet-v2": lambda net: (
        [list(net.features[a:b]) for a, b in [(0, 1), (1, 2), (2, 4), (4, 7), (7, 11), (11, 14), (14, 17), (17, 19)]],
        [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), net.classifier],
    ),
    "efficientnet-lite0": lambda net: (
        [
            [net.conv_stem, net.bn1], *([block] for block in net.blocks[:-1]), [net.blocks[-1], net.conv_head, net.bn2],
        ],
        [net.global_pool, net.classifier],
    ),
}


def features(net):
    """The net without its classifier, as it extracts features."""
    for name in ("fc", "classifier", "head"):
        layer = getattr(net, name, None)
        if name == "head" and isinstance(layer, torch.nn.Linear) or name == "fc":
            if layer is not None:
                setattr(net, name, torch.nn.Identity())
        elif name == "classifier" and layer is not None:
            last = layer[-1] if isinstance(layer, torch.nn.Sequential) else layer
            keep = list(layer)[:-1] if isinstance(layer, torch.nn.Sequential) else []
            # VGG's two hidden layers are not features of a convolutional base; the product pools before them.
            keep = [] if isinstance(last, torch.nn.Linear) and len(keep) > 3 else keep
            setattr(net, name, torch.nn.Sequential(*keep))
            if not keep and isinstance(net, torchvision.models.VGG):
                net.avgpool = torch.nn.AdaptiveAvgPool2d(1)
    return net


def forward_rows(name):
    x = torch.rand(BATCH, 3, 224, 224)
    last = x.to(memory_format=torch.channels_last)
    fresh = lambda: features(NETS[name]()).eval()

    def eager():
        net = fresh()
        return Work(BATCH, torch.no_grad()(lambda: net(x)))

    def channels_last(bf16):
        net = fresh().to(memory_format=torch.channels_last)

        def run():
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                return net(last)

        return Work(BATCH, run)

    def graph(bf16):
        torch.jit.enable_onednn_fusion(True)
        torch._C._jit_set_autocast_mode(False)
        net = fresh().to(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, cache_enabled=False, enabled=bf16):
            traced = torch.jit.freeze(torch.jit.trace(net, last))
        return Work(BATCH, torch.no_grad()(lambda: traced(last)))

    def compiled(bf16):
        import torch._inductor.config as config

        config.freezing = True
        net = torch.compile(fresh().to(memory_format=torch.channels_last))

        def run():
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                return net(last)

        return Work(BATCH, run)

    return {
        "torch eager": eager,
        "torch channels-last": lambda: channels_last(False),
        "torch channels-last, autocast bf16": lambda: channels_last(True),
        "torch traced, frozen, oneDNN graph": lambda: graph(False),
        "torch traced, frozen, oneDNN graph, bf16": lambda: graph(True),
        "torch.compile, freezing": lambda: compiled(False),
        "torch.compile, freezing, bf16": lambda: compiled(True),
    }


def step_rows(name, part):
    def row(channels_last, bf16, kept=False):
        def make():
            net = NETS[name]()
            stages, top = STAGES[name](net)
            start = {"all": 0, "half": len(stages) // 2, "last stage": len(stages) - 1}[part]
            below = torch.nn.Sequential(*(module for stage in stages[:start] for module in stage))
            above = torch.nn.Sequential(*(module for stage in stages[start:] for module in stage), *top)
            below.requires_grad_(False)
            # Frozen norms, as a fine-tuner with little data has them.
            net.eval()
            x = torch.rand(BATCH, 3, 224, 224)
            if channels_last:
                net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
            labels = torch.arange(BATCH) % 10
            optimizer = torch.optim.AdamW(above.parameters(), 1e-5, foreach=True)
            if kept:
                with torch.no_grad():
                    x = below(x)

            def run():
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    out = above(x if kept else below(x))
                torch.nn.functional.cross_entropy(out.float(), labels).backward()
                optimizer.step()
                optimizer.zero_grad()

            return Work(BATCH, run)

        return make

    rows = {
        "torch eager": row(False, False),
        "torch channels-last": row(True, False),
        "torch channels-last, autocast bf16": row(True, True),
    }
    if part != "all":
        # As the product does it: what is below is computed once and kept.
        rows["torch channels-last, kept activations"] = row(True, False, kept=True)
        rows["torch channels-last, kept activations, autocast bf16"] = row(True, True, kept=True)
    return rows


def cached_rows():
    """An epoch of a head on kept features, as `cached` here."""
    count, width, batch = 4096, 1280, 16
    xs, labels = torch.rand(count, width), torch.arange(count) % 10

    def head():
        net = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Linear(width, 10))
        return net, torch.optim.AdamW(net.parameters(), 1e-3, foreach=True)

    def step(net, optimizer, x, y):
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    def loader():
        net, optimizer = head()
        data = torch.utils.data.TensorDataset(xs, labels)
        batches = torch.utils.data.DataLoader(data, batch, shuffle=True)
        return Work(count, lambda: [step(net, optimizer, x, y) for x, y in batches], warm=1)

    def by_hand():
        net, optimizer = head()
        return Work(
            count, lambda: [step(net, optimizer, xs[at], labels[at]) for at in torch.randperm(count).split(batch)], warm=1
        )

    return {"torch, DataLoader": loader, "torch, rows picked by hand": by_hand}


def loader_rows(kind, photos):
    """The transforms of torchvision that are the same as `loader KIND` here."""
    t = torchvision.transforms
    first = {
        "validation": [t.Resize(256), t.CenterCrop(224)],
        "crop and flip": [t.RandomResizedCrop(224), t.RandomHorizontalFlip()],
    }.get(kind)
    if first is None:
        return {}
    norm = t.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

    def row(workers):
        def make():
            data = torchvision.datasets.ImageFolder(photos, t.Compose([*first, t.ToTensor(), norm]))
            batches = torch.utils.data.DataLoader(data, BATCH, num_workers=workers, persistent_workers=workers > 0)
            return Work(len(data), lambda: [None for _ in batches], warm=1)

        return make

    cores = torch.get_num_threads()
    return {"torchvision, 0 workers": row(0), f"torchvision, {cores} workers": row(cores)}


def run_rows():
    """A program that trains a head on the embedded set, from its start to its end."""

    def row(way):
        command = [sys.executable, str(ROOT / "xtask/peers/torch_run.py"), way]
        return lambda: Work(60, lambda: subprocess.run(command, check=True, capture_output=True), warm=0)

    return {
        "torch, 3 epochs through the frozen net": row("through"),
        "torch, features once and 30 epochs on them": row("kept"),
    }


def rows_of(kind, rest, photos):
    net, _, part = rest.partition(" ")
    if kind == "forward" and net in NETS:
        return "images/s", forward_rows(net)
    if kind == "step" and net in STAGES:
        return "images/s", step_rows(net, part)
    if kind == "cached":
        return "images/s", cached_rows()
    if kind == "loader":
        return "images/s", loader_rows(rest, photos)
    if kind == "run":
        return "runs/min", run_rows()
    return "", {}


main(rows_of, f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
