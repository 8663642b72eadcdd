"""What the Hugging Face stack does of the same work: forward passes of transformers' nets, and steps of its Trainer.

    python hf_rows.py ROUNDS OUT.json NAME...

NAME is `forward NET` or `step NET PART`; nets that transformers does not have are left out. The file is in the form of
`cargo xtask bench --json`.
"""

import json
import statistics
import sys
import tempfile
import time
import warnings

import torch
import transformers

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
BATCH = 16
NETS = {
    "resnet50": lambda: transformers.ResNetConfig(num_labels=10),
    "mobilenet-v2": lambda: transformers.MobileNetV2Config(num_labels=10),
    "convnext-tiny": lambda: transformers.ConvNextConfig(num_labels=10),
    "vit-small-patch16": lambda: transformers.ViTConfig(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, num_labels=10
    ),
}
# What trains, as prefixes of parameter names.
TRAINED = {
    ("resnet50", "last stage"): ("resnet.encoder.stages.3", "classifier"),
    ("resnet50", "half"): ("resnet.encoder.stages.1", "resnet.encoder.stages.2", "resnet.encoder.stages.3", "classifier"),
    ("resnet50", "all"): ("",),
    ("mobilenet-v2", "all"): ("",),
}


def fresh(net):
    return transformers.AutoModelForImageClassification.from_config(NETS[net]())


def forward_rows(net):
    x = torch.rand(BATCH, 3, 224, 224)
    plain = fresh(net).eval()
    half = fresh(net).eval().to(torch.bfloat16)
    compiled = torch.compile(fresh(net).eval())

    def autocast():
        with torch.autocast("cpu", torch.bfloat16):
            return compiled(x)

    return {
        "transformers f32": lambda: plain(x),
        "transformers bfloat16": lambda: half(x.to(torch.bfloat16)),
        "transformers torch.compile, autocast bf16": autocast,
    }


def step_rows(net, part):
    """Samples a second that the Trainer reports, its own collation included."""
    steps = 4
    x = torch.rand(BATCH * steps, 3, 224, 224)
    data = [{"pixel_values": x[i], "labels": i % 10} for i in range(len(x))]

    def row(bf16):
        model = fresh(net)
        for name, param in model.named_parameters():
            param.requires_grad = name.startswith(TRAINED[net, part])

        def run():
            with tempfile.TemporaryDirectory() as dir:
                args = transformers.TrainingArguments(
                    dir, per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=1e-5, bf16=bf16,
                    use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
                )
                start = time.perf_counter()
                transformers.Trainer(model, args, train_dataset=data).train()
                return len(data) / (time.perf_counter() - start)

        return run

    return {"Trainer f32": row(False), "Trainer bf16": row(True)}


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
    if net not in NETS or kind == "step" and (net, part[0]) not in TRAINED:
        return
    with torch.set_grad_enabled(kind == "step"):
        rows = forward_rows(net) if kind == "forward" else step_rows(net, part[0])
        for run in rows.values():
            run(), run()
        rates = {row: [] for row in rows}
        for _ in range(rounds):
            for row, run in rows.items():
                rates[row].append(rate(run) if kind == "forward" else run())
    for row, found in rates.items():
        yield {
            "name": f"{name} {row}", "unit": "images/s", "median": statistics.median(found),
            "low": min(found), "high": max(found), "rounds": found,
        }


def main():
    rounds, out, *names = sys.argv[1:]
    figures = [figure for name in names for figure in measure(name, int(rounds))]
    machine = f"transformers {transformers.__version__}, PyTorch {torch.__version__}, {torch.get_num_threads()} threads"
    with open(out, "w") as file:
        json.dump({"machine": machine, "figures": figures}, file, indent=1)


main()
