"""Loads the adapters of a run into peft, and compares what the net says with what the program says.

Needs: pip install torch transformers peft safetensors

    python tests/lora/check.py target/release/tl RUN BASE TEXTS.csv

RUN is a run of `tl finetune --task text --lora`; BASE the folder of the published net (config.json and weights) that it
began with; TEXTS.csv a table with a column `text`. The features of the adapted net and of the merged one have to agree
to 1e-4 of their root mean square.
"""

import csv
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import peft
import torch
import transformers
from safetensors.torch import load_file

NETS = {"t5": transformers.T5EncoderModel, "mt5": transformers.MT5EncoderModel}


def pooled(kind, states, mask):
    """As `tl` pools: over real tokens."""
    if kind == "cls":
        return states[:, 0]
    if kind == "last":
        return states[torch.arange(len(states)), mask.sum(1) - 1]
    weights = mask.unsqueeze(2).float()
    return (states * weights).sum(1) / weights.sum(1)


def main(tl, run, base, texts):
    run = pathlib.Path(run)
    about = json.loads((run / "model.json").read_text())
    config = about["text"]["config"]
    net = NETS.get(config["model_type"], transformers.AutoModel).from_pretrained(base)
    net = peft.PeftModel.from_pretrained(net, run / "adapter").eval()
    loaded = load_file(run / "adapter" / "adapter_model.safetensors")
    inside = peft.get_peft_model_state_dict(net)
    assert set(loaded) == set(inside), sorted(set(loaded) ^ set(inside))[:4]
    assert all(torch.equal(loaded[name], inside[name]) for name in loaded)
    head = load_file(run / "adapter" / "head.safetensors")
    model = load_file(run / "model.safetensors")
    assert all(torch.equal(head[name], model[name]) for name in head)

    with open(texts, newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)][:64]
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=about["text"]["max_length"], return_tensors="pt")
    with torch.no_grad():
        states = net(**tokens).last_hidden_state
    ours = pooled(about["head"].split("-")[0], states, tokens["attention_mask"]).numpy()

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "texts.csv").write_text("text\n" + "".join(json.dumps(text.replace('"', "'")) + "\n" for text in texts))
        command = [tl, "features", run, folder / "texts.csv", "--out", folder / "out.npy"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        theirs = numpy.load(folder / "out.npy")
    scale = numpy.sqrt((ours**2).mean())
    difference = numpy.abs(ours - theirs).max() / scale
    print(f"{len(loaded)} tensors of adapters, {len(texts)} texts, worst difference {difference:.1e}")
    assert difference < 1e-4


if __name__ == "__main__":
    main(*sys.argv[1:])
