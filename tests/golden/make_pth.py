"""Writes the fixtures of `crates/tl-weights/tests/readers.rs` with real PyTorch (made with 2.11.0).

    python tests/golden/make_pth.py crates/tl-weights/tests/data

The files hold every dtype and memory layout that published checkpoints use; `expected.json` holds what PyTorch
itself reads back from them.
"""

import argparse
import collections
import json
import os
import pathlib

import torch


class Evil:
    """Would run a command when unpickled by Python."""

    def __reduce__(self):
        return os.system, ("touch tl-weights-was-here",)


def tensors():
    base = torch.arange(24, dtype=torch.float32).mul_(0.37).sub_(2.5).reshape(4, 6)
    shared = torch.linspace(-1.0, 1.0, 10)
    return collections.OrderedDict(
        [
            ("f32", base.clone()),
            ("f16", base[:2].half()),
            ("bf16", base[1:3].bfloat16()),
            ("f64", base[0].double()),
            ("i64", torch.tensor([-(2**40), -1, 0, 2**40])),
            ("i32", torch.tensor([-7, 2**20], dtype=torch.int32)),
            ("i16", torch.tensor([-300, 300], dtype=torch.int16)),
            ("i8", torch.tensor([-128, 127], dtype=torch.int8)),
            ("u8", torch.tensor([0, 255], dtype=torch.uint8)),
            ("bool", torch.tensor([True, False, True])),
            ("transposed", base.clone().t()),
            ("window", base.clone()[1:3, 2:5]),
            ("every_second", torch.arange(9.0)[::2]),
            ("permuted", torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1)),
            ("channels_last", torch.arange(32.0).reshape(2, 4, 2, 2).contiguous(memory_format=torch.channels_last)),
            ("shared_head", shared[:4]),
            ("shared_tail", shared[3:]),
            ("expanded", torch.arange(3.0).unsqueeze(0).expand(2, 3)),
            ("parameter", torch.nn.Parameter(base[3].clone())),
            ("scalar", torch.tensor(3.25)),
            ("empty", torch.empty(0, 5)),
        ]
    )


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Linear(2, 3))


def describe(state):
    return [
        {
            "name": name,
            "dtype": str(t.dtype).removeprefix("torch."),
            "shape": list(t.shape),
            "values": [float(v) for v in t.detach().double().flatten()],
        }
        for name, t in state.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    state, model = tensors(), net()
    nested = {"epoch": 3, "best": 0.875, "args": {"lr": [0.1, 0.2], "name": "net"}, "state_dict": model.state_dict()}
    parallel = torch.nn.DataParallel(model).state_dict()
    files = {
        "plain": state,
        "nested": nested,
        "parallel": {"model": parallel, "optimizer": {"state": {0: {"step": torch.tensor(5.0)}}}},
        "evil": {"weight": torch.ones(2), "extra": Evil()},
    }
    for name, value in files.items():
        torch.save(value, out / f"{name}.zip.pth")
        torch.save(value, out / f"{name}.legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(state, out / "plain.protocol4.pth", pickle_protocol=4)
    torch.save(nested, out / "nested.protocol5.legacy.pth", pickle_protocol=5, _use_new_zipfile_serialization=False)
    torch.save(model, out / "whole_model.zip.pth")

    expected = {
        "plain": describe(torch.load(out / "plain.zip.pth")),
        "net": describe(torch.load(out / "nested.legacy.pth")["state_dict"]),
    }
    (out / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
