"""What the Hugging Face stack does of the same work: forward passes of transformers' nets of images and texts, steps of its
Trainer, and embeddings of texts.

Names are `forward NET`, `step NET PART` and `embed NET`; see `rows.py`.
"""

import tempfile

import torch
import transformers
from rows import Work, main

transformers.logging.set_verbosity_error()
BATCH = 16
IMAGES = {
    "resnet50": lambda: transformers.ResNetConfig(num_labels=10),
    "mobilenet-v2": lambda: transformers.MobileNetV2Config(num_labels=10),
    "convnext-tiny": lambda: transformers.ConvNextConfig(num_labels=10),
    "vit-small-patch16": lambda: transformers.ViTConfig(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, num_labels=10
    ),
}
# The sizes of all-MiniLM-L6-v2. Attention drops nothing, as here.
TEXTS = {
    "minilm": lambda: transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=2,
        attention_probs_dropout_prob=0.0,
    ),
}  # fmt: skip
# What trains, as prefixes of parameter names.
TRAINED = {
    ("resnet50", "last stage"): ("resnet.encoder.stages.3", "classifier"),
    ("resnet50", "half"): ("resnet.encoder.stages.1", "resnet.encoder.stages.2", "resnet.encoder.stages.3", "classifier"),
    ("resnet50", "all"): ("",),
    ("mobilenet-v2", "all"): ("",),
    ("minilm", "last stage"): ("bert.encoder.layer.5", "bert.pooler", "classifier"),
    ("minilm", "half"): tuple(f"bert.encoder.layer.{i}" for i in (2, 3, 4, 5)) + ("bert.pooler", "classifier"),
    ("minilm", "all"): ("",),
}
# Texts of a batch, and tokens of each, as here.
FEW, LENGTHS = 32, [24 + i * 5 % 9 for i in range(32)]
MANY = [6 + i * 37 % 53 for i in range(512)]


def padded(lengths):
    """Made-up texts of these lengths, as wide as the longest."""
    width = max(lengths)
    mask = torch.arange(width) < torch.tensor(lengths).unsqueeze(1)
    return {"input_ids": torch.randint(1000, 30000, mask.shape) * mask, "attention_mask": mask.long()}


def mean(net, batch):
    """Pooled as sentence-transformers does it."""
    mask = batch["attention_mask"].unsqueeze(-1)
    return (net(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)


def image_rows(net):
    x = torch.rand(BATCH, 3, 224, 224)
    fresh = lambda: transformers.AutoModelForImageClassification.from_config(IMAGES[net]()).eval()

    def plain(kind):
        model, xs = fresh().to(kind), x.to(kind)
        return Work(BATCH, torch.no_grad()(lambda: model(xs)))

    def compiled():
        model = torch.compile(fresh())

        def run():
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                return model(x)

        return Work(BATCH, run)

    return {
        "transformers f32": lambda: plain(torch.float32),
        "transformers bf16": lambda: plain(torch.bfloat16),
        "transformers torch.compile, autocast bf16": compiled,
    }


def text_rows(name, batches):
    """Mean features of texts, in the batches given."""
    count = sum(len(batch["input_ids"]) for batch in batches)

    def row(kind, autocast, compiled=False):
        def make():
            net = transformers.AutoModel.from_config(TEXTS[name]()).eval().to(kind)
            net = torch.compile(net, dynamic=True) if compiled else net

            def run():
                with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                    for batch in batches:
                        mean(net, batch)

            return Work(count, run)

        return make

    return {
        "transformers f32": row(torch.float32, False),
        "transformers autocast bf16": row(torch.float32, True),
        "transformers weights in bf16": row(torch.bfloat16, False),
        "transformers torch.compile": row(torch.float32, False, compiled=True),
        "transformers torch.compile, autocast bf16": row(torch.float32, True, compiled=True),
    }


def text_step_rows(name, part):
    """A step written by hand, which is what the Trainer does without what it does beside it."""
    batch = padded(LENGTHS)
    labels = torch.arange(FEW) % 2

    def row(autocast):
        def make():
            net = transformers.AutoModelForSequenceClassification.from_config(TEXTS[name]()).train()
            for key, value in net.named_parameters():
                value.requires_grad = key.startswith(TRAINED[name, part])
            optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 1e-5, foreach=True)

            def run():
                with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                    logits = net(**batch).logits
                torch.nn.functional.cross_entropy(logits.float(), labels).backward()
                optimizer.step()
                optimizer.zero_grad()

            return Work(FEW, run)

        return make

    return {"transformers f32": row(False), "transformers autocast bf16": row(True)}


def trainer_rows(net, part, fresh, data, batch):
    """Samples a second of the Trainer, its own collation included."""

    def row(bf16):
        def make():
            model = fresh()
            for name, param in model.named_parameters():
                param.requires_grad = name.startswith(TRAINED[net, part])

            def run():
                with tempfile.TemporaryDirectory() as dir:
                    args = transformers.TrainingArguments(
                        dir, per_device_train_batch_size=batch, num_train_epochs=1, learning_rate=1e-5, bf16=bf16,
                        use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
                    )  # fmt: skip
                    transformers.Trainer(model, args, train_dataset=data).train()

            return Work(len(data), run, warm=1)

        return make

    return {"Trainer f32": row(False), "Trainer bf16": row(True)}


def rows_of(kind, rest, _photos):
    net, _, part = rest.partition(" ")
    trains = kind == "step" and (net, part) in TRAINED
    if net in IMAGES and kind == "forward":
        return "images/s", image_rows(net)
    if net in IMAGES and trains:
        x = torch.rand(4 * BATCH, 3, 224, 224)
        data = [{"pixel_values": x[i], "labels": i % 10} for i in range(len(x))]
        fresh = lambda: transformers.AutoModelForImageClassification.from_config(IMAGES[net]())
        return "images/s", trainer_rows(net, part, fresh, data, BATCH)
    if net in TEXTS and kind == "forward":
        return "texts/s", text_rows(net, [padded(LENGTHS)])
    if net in TEXTS and kind == "embed":
        # By length, 32 at a time, as sentence-transformers does it.
        long_first = sorted(MANY, reverse=True)
        return "texts/s", text_rows(net, [padded(long_first[i : i + 32]) for i in range(0, len(long_first), 32)])
    if net in TEXTS and trains:
        texts = padded(LENGTHS * 4)
        data = [{key: value[i] for key, value in texts.items()} | {"labels": i % 2} for i in range(4 * FEW)]
        fresh = lambda: transformers.AutoModelForSequenceClassification.from_config(TEXTS[net]())
        return "texts/s", text_step_rows(net, part) | trainer_rows(net, part, fresh, data, FEW)
    return "", {}


main(rows_of, f"transformers {transformers.__version__}, PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
