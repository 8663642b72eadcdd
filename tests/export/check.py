"""What `tl export` writes, loaded by those it was written for: libtorch in Python, timm, onnxruntime.

    pip install torch==2.11.0 torchvision==0.26.0 timm==1.0.31 onnx onnxruntime
    python tests/export/check.py TL DATA [NET ...]

TL is the built program, DATA a folder DIR/train/CLASS/* of photos. For one net of every family, weights are made by timm
or torchvision (new ones, with batch-norm's statistics and scales disturbed, so that each of them counts) and

1. the net with its published classifier is exported, and both formats have to say what the Python net says;
2. a head is trained on a few photos, the run is exported in every format, and all have to say what `tl predict --raw` says,
   for one image and for three at a time.

Differences are root mean squares by that of the outputs. The nets' own may be 1e-4; `tl predict` reads images itself, and
decoding and resizing may differ in the last bit of a pixel, so that is 1e-2. Exits with 1 if anything differs.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import timm
import torch
import torchvision
from PIL import Image

# Net of ours, who makes it in Python, its name there, the head that is trained on it, and the image size.
NETS = {
    "efficientnet-b0": ("timm", "efficientnet_b0", "gap", 96),
    "efficientnet-lite1": ("timm", "tf_efficientnet_lite1", "gap", 101),
    "mobilenet-v1": ("timm", "mobilenetv1_100", "gap", 96),
    "mobilenet-v2": ("timm", "mobilenetv2_100", "max", 96),
    "mobilenet-v3-small": ("timm", "mobilenetv3_small_100", "gap-16-silu", 96),
    "resnet18": ("timm", "resnet18", "gap", 96),
    "resnext50-32x4d": ("timm", "resnext50_32x4d", "gap-bn-16-elu", 96),
    "densenet121": ("timm", "densenet121", "gap", 96),
    "inception-v3": ("timm", "inception_v3", "gap", 128),
    "googlenet": ("torchvision", "googlenet", "concat-8-tanh", 96),
    "vgg11": ("torchvision", "vgg11", "flatten-16", 64),
    "vgg11-bn": ("timm", "vgg11_bn", "gem", 64),
    "alexnet": ("torchvision", "alexnet", "gap-8-leaky", 96),
    "convnext-tiny": ("timm", "convnext_tiny", "gap", 96),
    "vit-small-patch16": ("timm", "vit_small_patch16_224", "cls", 96),
    "dinov2-small": ("timm", "vit_small_patch14_dinov2", "cls", 98),
}
FOR_TIMM = ["efficientnet-lite0", *(net for net, (_, _, head, _) in NETS.items() if head in ("gap", "max", "cls"))]


def python_net(library, name, size):
    torch.manual_seed(1)
    if library == "timm":
        net = timm.create_model(name, pretrained=False)
    else:
        more = {"aux_logits": True, "init_weights": True} if name == "googlenet" else {}
        net = torchvision.models.get_model(name, weights=None, **more)
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    if name == "inception_v3":
        # Its new weights are so large that no head can learn on them: statistics of images instead of zeros and ones.
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            net.train()(torch.randn(4, 3, size, size))
    for norm in norms:
        norm.running_mean += 0.2 * norm.running_var.sqrt() * (2 * torch.rand_like(norm.running_mean) - 1)
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.7, 1.3)
        norm.weight.data.uniform_(0.7, 1.3)
        norm.bias.data.uniform_(-0.2, 0.2)
    return net.eval()


def run(*args):
    words = [str(arg) for arg in args]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}\n{done.stderr}")
    return done.stdout


def prepared(about, files):
    """Images as the description says, with Pillow."""
    how = about["preprocess"]
    batch = []
    for file in files:
        image = Image.open(file).convert("RGB")
        w, h = image.size
        short = min(w, h)
        filters = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "nearest": Image.NEAREST}
        size = (int(how["resize"] * w / short), int(how["resize"] * h / short))
        image = image.resize(size, filters[how["interpolation"]])
        left, top = (round((side - how["input"]) / 2) for side in size)
        image = image.crop((left, top, left + how["input"], top + how["input"]))
        values = np.asarray(image, np.float32) / 255
        batch.append(((values - np.float32(how["mean"])) / np.float32(how["std"])).transpose(2, 0, 1))
    return np.ascontiguousarray(np.stack(batch), np.float32)


def difference(got, expected):
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, (got.shape, expected.shape)
    return float(np.sqrt(((got - expected) ** 2).mean()) / np.sqrt((expected**2).mean()))


class Check:
    def __init__(self):
        self.worst = {}
        self.failed = []

    def say(self, net, what, got, expected, limit):
        value = difference(got, expected)
        self.worst[what] = max(self.worst.get(what, 0), value)
        bad = not value <= limit
        if bad:
            self.failed.append((net, what, value))
        print(f"{net:20} {what:34} {value:.1e}{'  DIFFERS' if bad else ''}", flush=True)


def load_all(check, net, folder, script, onnx_file, photos, expected=None):
    """TorchScript and ONNX for batches of one and three; returns what TorchScript says of all."""
    files = {"tl.json": ""}
    module = torch.jit.load(str(script), _extra_files=files)
    about = json.loads(files["tl.json"])
    model = onnx.load(str(onnx_file))
    onnx.checker.check_model(model, full_check=True)
    assert json.loads({p.key: p.value for p in model.metadata_props}["tl.json"]) == about
    session = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    images = prepared(about, photos)
    with torch.no_grad():
        whole = module(torch.from_numpy(images)).numpy()
        one = module(torch.from_numpy(images[:1]).contiguous(memory_format=torch.channels_last)).numpy()
    said = session.run(None, {"images": images})[0]
    check.say(net, "torchscript, one image", one, whole[:1], 1e-4)
    check.say(net, "onnx by torchscript", said, whole, 1e-4)
    check.say(net, "onnx, one image", session.run(None, {"images": images[:1]})[0], said[:1], 1e-4)
    if expected is not None:
        with torch.no_grad():
            check.say(net, "torchscript by Python net", whole, expected(torch.from_numpy(images)), 1e-4)
    return whole, images


def published(check, tl, net, weights, python, folder, photos):
    for kind, ending in [("torchscript", "pt"), ("onnx", "onnx")]:
        out = folder / f"published.{ending}"
        run(tl, "export", "--backbone", net, "--weights", weights, "--format", kind, "--out", out)
    load_all(check, net, folder, folder / "published.pt", folder / "published.onnx", photos, python)


def trained(check, tl, net, weights, head, size, folder, data, photos):
    args = ["--backbone", net, "--head", head, "--preset", "feature-extraction", "--epochs", "2"]
    args += ["--image-size", size, "--precision", "f32", "--quiet", "--run", folder / "run", "--data", data]
    if weights:
        args += ["--weights", weights]
    run(tl, "finetune", *args)
    for kind, ending in [("torchscript", "pt"), ("onnx", "onnx")]:
        run(tl, "export", folder / "run", "--format", kind, "--out", folder / f"run.{ending}")
    whole, images = load_all(check, net, folder, folder / "run.pt", folder / "run.onnx", photos)
    lines = run(tl, "predict", folder / "run", "--raw", "--json", "--precision", "f32", *photos)
    said = [json.loads(line)["outputs"] for line in lines.splitlines()]
    check.say(net, f"torchscript by tl predict ({head})", whole, said, 1e-2)
    if net in FOR_TIMM:
        run(tl, "export", folder / "run", "--format", "safetensors", "--out", folder / "timm")
        model = timm.create_model(f"local-dir:{folder / 'timm'}", pretrained=True).eval()
        with torch.no_grad():
            check.say(net, "timm by torchscript", model(torch.from_numpy(images)).numpy(), whole, 1e-4)
        how = timm.data.resolve_model_data_config(model)
        about = json.loads((folder / "timm" / "tl.json").read_text())["preprocess"]
        assert tuple(how["input_size"]) == (3, size, size) and how["interpolation"] == about["interpolation"], how
        assert np.allclose(how["mean"], about["mean"]) and np.allclose(how["std"], about["std"]), how
    run(tl, "export", folder / "run", "--format", "package", "--out", folder / "run.tl")
    packed = run(tl, "predict", folder / "run.tl", "--raw", "--json", "--precision", "f32", *photos)
    assert packed == lines, "the package says something else than the run"


def main():
    tl, source, *only = sys.argv[1:]
    tl = str(Path(tl).resolve())
    check = Check()
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        data, photos = place / "data", []
        # As PNG: decoders of JPEG differ in the last bit.
        for kind in sorted(path for path in (Path(source) / "train").iterdir() if path.is_dir()):
            for i, file in enumerate(sorted(kind.iterdir())[:10]):
                to = data / ("train" if i < 6 else "val") / kind.name / f"{i}.png"
                to.parent.mkdir(parents=True, exist_ok=True)
                Image.open(file).convert("RGB").save(to)
                photos += [to] if i >= 6 else []
        photos = photos[:3]
        nets = [net for net in ["efficientnet-lite0", *NETS] if not only or net in only]
        for net in nets:
            folder = place / net
            folder.mkdir()
            if net not in NETS:
                # The one whose weights are at hand.
                trained(check, tl, net, None, "gap", 224, folder, data, photos)
                continue
            library, name, head, size = NETS[net]
            python = python_net(library, name, size)
            weights = folder / "weights.pth"
            torch.save(python.state_dict(), weights)
            if net != "dinov2-small":
                published(check, tl, net, weights, python, folder, photos)
            trained(check, tl, net, weights, head, size, folder, data, photos)
    for what, value in sorted(check.worst.items()):
        print(f"worst {what:40} {value:.1e}")
    if check.failed:
        sys.exit(f"{len(check.failed)} differences")


if __name__ == "__main__":
    main()
