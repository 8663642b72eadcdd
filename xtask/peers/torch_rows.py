"""What PyTorch does of the same work: forward passes and training steps of torchvision's and timm's nets.

    python torch_rows.py ROUNDS OUT.json NAME...

NAME is `forward NET` or `step NET PART`. Every name gets a row for each way in which a user of PyTorch would run it, from
the plainest to the best known here. Round by round, each in turn; the file is in the form of `cargo xtask bench --json`.
"""

import json
import statistics
import sys
import time
import warnings

import timm
import torch
import torchvision

warnings.filterwarnings("ignore")
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
# The stages of the product, as prefixes of parameter names, lowest first.
STAGES = {
    "resnet50": ["conv1 bn1", "layer1", "layer2", "layer3", "layer4"],
    "mobilenet-v2": [
        "features.0. features.1.", "features.2. features.3.", "features.4. features.5. features.6.",
        "features.7. features.8. features.9. features.10.", "features.11. features.12. features.13.",
        "features.14. features.15. features.16.", "features.17.", "features.18.",
    ],
    "efficientnet-lite0": [
        "conv_stem bn1 blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6", "conv_head bn2",
    ],
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
    bf16 = lambda: torch.autocast("cpu", torch.bfloat16)

    def eager():
        net = fresh()
        return lambda: net(x)

    def autocast():
        net = fresh().to(memory_format=torch.channels_last)

        def run():
            with bf16():
                return net(last)

        return run

    def graph():
        torch.jit.enable_onednn_fusion(True)
        torch._C._jit_set_autocast_mode(False)
        net = fresh().to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            traced = torch.jit.freeze(torch.jit.trace(net, last))
        return lambda: traced(last)

    def compiled():
        import torch._inductor.config as config

        config.freezing = True
        net = torch.compile(fresh().to(memory_format=torch.channels_last))

        def run():
            with bf16():
                return net(last)

        return run

    return {
        "torch eager": eager,
        "torch channels-last, autocast bf16": autocast,
        "torch traced, frozen, oneDNN graph bf16": graph,
        "torch.compile, freezing, bf16": compiled,
    }


def step_rows(name, part):
    stages = STAGES[name]
    start = {"all": 0, "half": len(stages) // 2, "last stage": len(stages) - 1}[part]

    def row(channels_last, bf16):
        def make():
            net = NETS[name]()
            prefixes = " ".join(stages[start:]).split() + ["fc", "classifier"]
            for key, value in net.named_parameters():
                value.requires_grad = any(key.startswith(prefix) for prefix in prefixes)
            # Frozen norms, as a fine-tuner with little data has them.
            net.eval()
            x = torch.rand(BATCH, 3, 224, 224)
            if channels_last:
                net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
            labels = torch.arange(BATCH) % 10
            optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 1e-5, foreach=True)

            def run():
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    out = net(x)
                torch.nn.functional.cross_entropy(out.float(), labels).backward()
                optimizer.step()
                optimizer.zero_grad()

            return run

        return make

    return {
        "torch eager": row(False, False),
        "torch channels-last": row(True, False),
        "torch channels-last, autocast bf16": row(True, True),
    }


def rate(run):
    start, done = time.perf_counter(), 0
    while True:
        run()
        done += BATCH
        seconds = time.perf_counter() - start
        if seconds >= 0.5:
            return done / seconds


def measure(name, rounds):
    kind, net, *part = name.split(" ", 2)
    rows = forward_rows(net) if kind == "forward" else step_rows(net, part[0])
    with torch.set_grad_enabled(kind == "step"):
        runs = {}
        for row, make in rows.items():
            try:
                runs[row] = make()
                # Warm: compilers and fusers work at the first calls.
                for _ in range(3):
                    runs[row]()
            except Exception as error:  # a way that this machine cannot go
                print(f"{name}: {row} failed: {str(error).splitlines()[0][:120]}", file=sys.stderr)
                runs.pop(row, None)
        rates = {row: [] for row in runs}
        for _ in range(rounds):
            for row, run in runs.items():
                rates[row].append(rate(run))
    for row, found in rates.items():
        yield {
            "name": f"{name} {row}", "unit": "images/s", "median": statistics.median(found),
            "low": min(found), "high": max(found), "rounds": found,
        }


def main():
    rounds, out, *names = sys.argv[1:]
    figures = [figure for name in names for figure in measure(name, int(rounds))]
    record = {"machine": f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads", "figures": figures}
    with open(out, "w") as file:
        json.dump(record, file, indent=1)


main()
