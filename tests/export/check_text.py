"""What `tl export` writes of texts, loaded by those it was written for: torch, onnxruntime, transformers,
sentence-transformers.

    pip install torch==2.11.0 transformers==5.23.0 sentence-transformers==5.6.1 onnx onnxruntime
    python tests/export/check_text.py TL [FAMILY ...]

TL is the built program. For small nets of every family, with new weights, heads of several kinds are trained on a few
texts, and the run leaves in every format. All have to say what `tl predict --raw` says, for texts one by one and in
batches that are filled up, and TorchScript and ONNX have to say the same for other numbers of texts and other lengths.
With `minilm` among the families (or without any named) the default net leaves as embeddings.

Differences are root mean squares by that of the outputs, 1e-4 at most. Exits with 1 if anything differs.
"""

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tokenizers
import torch
import transformers as hf
from sentence_transformers import SentenceTransformer

warnings.filterwarnings("ignore")
hf.logging.set_verbosity_error()
hf.logging.disable_progress_bar()

BERT = dict(vocab_size=101, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=40, type_vocab_size=2)
ROBERTA = BERT | dict(type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5)
T5 = dict(vocab_size=101, d_model=32, d_kv=10, d_ff=48, num_layers=3, num_heads=4, decoder_start_token_id=0,
          relative_attention_num_buckets=8, relative_attention_max_distance=12)
# A net, and for each head: words of `tl finetune` behind --head, and what loads it.
SEQUENCE, SENTENCE, NOTHING = "AutoModelForSequenceClassification", "SentenceTransformer", None
BINARY, LABELS, NUMBERS = ["--classes", "binary"], ["--classes", "multi-label"], ["--classes", "regression"]
NETS = {
    "bert": (hf.BertConfig(**BERT), hf.BertModel, [
        ("cls", [], SEQUENCE), ("cls", BINARY, SEQUENCE), ("cls", LABELS, SEQUENCE), ("cls", NUMBERS, SEQUENCE),
        ("cls-32-tanh", [], SEQUENCE), ("cls-32-tanh", BINARY, SEQUENCE), ("cls-bn-32-tanh-drop0.1-bn", [], SEQUENCE),
        ("gap", [], SENTENCE), ("gap", NUMBERS, SENTENCE), ("gap-bn-16-gelu-bn-8-leaky", [], SENTENCE),
        ("concat-8-silu", BINARY, SENTENCE), ("max-8-elu", [], SENTENCE), ("gem", [], NOTHING)]),
    "distilbert": (
        hf.DistilBertConfig(vocab_size=101, dim=32, n_layers=3, n_heads=4, hidden_dim=48, max_position_embeddings=40),
        hf.DistilBertModel, [("cls", [], SEQUENCE), ("cls-32", [], SEQUENCE), ("gap", [], SENTENCE)]),
    "roberta": (hf.RobertaConfig(**ROBERTA), hf.RobertaModel,
                [("cls", [], SEQUENCE), ("cls-32-tanh", BINARY, SEQUENCE), ("gap", [], SENTENCE)]),
    "xlm-roberta": (hf.XLMRobertaConfig(**ROBERTA), hf.XLMRobertaModel, [("cls", [], SEQUENCE)]),
    "camembert": (hf.CamembertConfig(**ROBERTA), hf.CamembertModel, [("cls", [], SEQUENCE)]),
    "electra": (hf.ElectraConfig(**BERT, embedding_size=16), hf.ElectraModel,
                [("cls", [], SEQUENCE), ("cls-32-gelu", BINARY, SEQUENCE)]),
    "albert": (hf.AlbertConfig(**BERT, embedding_size=16), hf.AlbertModel,
               [("cls", [], SEQUENCE), ("cls-32-tanh", [], SEQUENCE)]),
    "gpt2": (hf.GPT2Config(vocab_size=101, n_embd=32, n_layer=3, n_head=4, n_positions=40), hf.GPT2Model,
             [("last", [], SENTENCE), ("gap", [], SENTENCE)]),
    "t5": (hf.T5Config(**T5), hf.T5EncoderModel, [("gap", [], SENTENCE)]),
    "t5-gated": (hf.T5Config(**T5, feed_forward_proj="gated-gelu"), hf.T5EncoderModel, [("max-8", [], SENTENCE)]),
    "mt5": (hf.MT5Config(**T5), hf.MT5EncoderModel, [("gap", [], SENTENCE)]),
}


def make_net(config, make, folder):
    torch.manual_seed(1)
    net = make(config)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if p.dim() > 1:
                p.normal_(0, 2 / np.sqrt(p.shape[-1]) if "mbedding" not in name else 0.5)
            elif "orm" in name and "weight" in name or "ln_" in name and "weight" in name:
                p.uniform_(0.7, 1.3)
            else:
                p.normal_(0, 0.2)
    net.save_pretrained(folder)
    pad = config.pad_token_id or 0
    words = ["[CLS]", "[PAD]"] if pad == 1 else ["[PAD]", "[CLS]"]
    words += ["[SEP]", "[UNK]", "[MASK]", *(f"w{i}" for i in range(5, 101))]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(words[:5])
    at = {word: i for i, word in enumerate(words)}
    second = 1 if getattr(config, "type_vocab_size", 0) > 1 else 0
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=f"[CLS] $A [SEP] $B:{second} [SEP]:{second}",
        special_tokens=[("[CLS]", at["[CLS]"]), ("[SEP]", at["[SEP]"])])
    tokenizer.save(str(folder / "tokenizer.json"))


def texts(n):
    draw = np.random.default_rng(3)
    return [" ".join(f"w{i}" for i in draw.integers(5, 101, draw.integers(1, 30))) for _ in range(n)]


def tables(folder):
    for name, row in [("classes", lambda i: "abc"[i % 3]), ("binary", lambda i: "ab"[i % 2]),
                      ("multi-label", lambda i: ["a", "a|b", "b|c", ""][i % 4]),
                      ("regression", lambda i: str(3000.5 + 170 * (i % 7)))]:
        rows = [f"{text},{row(i)},{'val' if i % 4 == 3 else 'train'}" for i, text in enumerate(texts(36))]
        (folder / f"{name}.csv").write_text("\n".join(["sentence,label,split", *rows]) + "\n")


def run(*args, fails=False):
    words = [str(arg) for arg in args]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if (done.returncode != 0) != fails:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stderr if fails else done.stdout


def difference(got, expected):
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, (got.shape, expected.shape)
    return float(np.sqrt(((got - expected) ** 2).mean()) / np.sqrt((expected**2).mean()))


class Check:
    def __init__(self):
        self.worst, self.failed = {}, []

    def say(self, net, what, got, expected, limit=1e-4):
        value = difference(got, expected)
        self.worst[what] = max(self.worst.get(what, 0), value)
        bad = not value <= limit
        if bad:
            self.failed.append((net, what, value))
        print(f"{net:34} {what:34} {value:.1e}{'  DIFFERS' if bad else ''}", flush=True)


def random_inputs(names, vocabulary, n, t):
    draw = np.random.default_rng(n * 100 + t)
    lengths = draw.integers(1, t + 1, n)
    lengths[0] = t
    at = np.arange(t)[None]
    mask = (at < lengths[:, None]).astype(np.int64)
    made = {
        "input_ids": draw.integers(5, vocabulary, (n, t)) * mask,
        "attention_mask": mask,
        "token_type_ids": (at >= lengths[:, None] / 2) * mask,
    }
    return [made[name].astype(np.int64) for name in names]


def scripts(check, net, tl, source, folder, words, tokens, expected, limit):
    """TorchScript and ONNX: the same for many sizes, and on given tokens what is expected."""
    for kind, ending in [("torchscript", "pt"), ("onnx", "onnx")]:
        run(tl, "export", *source, "--format", kind, "--out", folder / f"net.{ending}", "--force", *words)
    files = {"tl.json": ""}
    module = torch.jit.load(str(folder / "net.pt"), _extra_files=files)
    about = json.loads(files["tl.json"])
    model = onnx.load(str(folder / "net.onnx"))
    onnx.checker.check_model(model, full_check=True)
    assert json.loads({p.key: p.value for p in model.metadata_props}["tl.json"]) == about
    session = onnxruntime.InferenceSession(str(folder / "net.onnx"), providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_inputs()]
    assert names == about["text"]["inputs"], names
    script = lambda inputs: module(*(torch.from_numpy(x) for x in inputs)).numpy()
    onnx_of = lambda inputs: session.run(None, dict(zip(names, inputs)))[0]
    with torch.no_grad():
        # As long as the table of positions; of distances there is no end.
        longest = 200 if "t5" in net else 38
        for n, t in [(1, 1), (1, 17), (5, 3), (3, longest), (16, 12)]:
            inputs = random_inputs(names, 101, n, t)
            check.say(net, "onnx by torchscript", onnx_of(inputs), script(inputs))
            named = {name: torch.from_numpy(x) for name, x in zip(names, inputs)}
            assert np.array_equal(module(**named).numpy(), script(inputs))
        given = [tokens[name].numpy() for name in names]
        check.say(net, "torchscript by tl", script(given), expected, limit)
        one = [x[:1, : int(tokens["attention_mask"][0].sum())] for x in given]
        check.say(net, "torchscript, one text", script(one), script(given)[:1])
        check.say(net, "onnx by tl", onnx_of(given), expected, limit)
    return about


def said_of(outputs, task):
    """As the classes of transformers say it: two classes by one output are two logits."""
    outputs = np.asarray(outputs)
    return np.concatenate([np.zeros_like(outputs), outputs], 1) if task == BINARY else outputs


def trained(check, tl, family, head, task, loads, folder, place):
    net = f"{family} {head} {task[-1] if task else ''}"
    run_folder = folder / "run"
    table = place / f"{task[-1] if task else 'classes'}.csv"
    run(tl, "finetune", "--task", "text", "--data", table, "--backbone", folder / "net", "--head", head, *task,
        "--preset", "feature-extraction", "--epochs", "6", "--max-length", "24", "--precision", "f32", "--quiet",
        "--run", run_folder)
    asked = texts(9)
    # Numbers are said in their own units in any case.
    predict = lambda model, of: [json.loads(line) for line in
                                 run(tl, "predict", model, *(["--raw"] if of else []), "--json", "--precision", "f32",
                                     *asked).splitlines()]
    if task == NUMBERS:
        expected = [[value["value"] for value in line["values"]] for line in predict(run_folder, False)]
    else:
        expected = [line["outputs"] for line in predict(run_folder, True)]
    out = folder / "hf"
    if loads is NOTHING:
        error = run(tl, "export", run_folder, "--format", "transformers", "--out", out, fails=True)
        assert "hint: " in error and not out.exists(), error
        # Its tokenizer is in the package.
        run(tl, "export", run_folder, "--format", "package", "--out", out)
        tokenizer = hf.PreTrainedTokenizerFast(tokenizer_file=str(out / "tokenizer.json"), pad_token="[PAD]",
                                               model_max_length=24)
    else:
        run(tl, "export", run_folder, "--format", "transformers", "--out", out)
        tokenizer = hf.AutoTokenizer.from_pretrained(out)
    tokens = tokenizer(asked, padding=True, truncation=True, max_length=24, return_tensors="pt",
                       return_token_type_ids=True)
    scripts(check, net, tl, [run_folder], folder, [], tokens, expected, 1e-4)
    if loads == SEQUENCE:
        model = hf.AutoModelForSequenceClassification.from_pretrained(out).eval()
        own = tokenizer(asked, padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            check.say(net, "transformers by tl", model(**own).logits.numpy(), said_of(expected, task))
        config = json.loads((out / "config.json").read_text())
        assert [model.config.id2label[i] for i in range(len(config["id2label"]))] == list(config["id2label"].values())
    elif loads == SENTENCE:
        model = SentenceTransformer(str(out), device="cpu")
        check.say(net, "sentence-transformers by tl", model.encode(asked), said_of(expected, task))
    if loads is not NOTHING:
        embedded(check, net, tl, [run_folder], folder, asked, ["--pool", head.split("-")[0]])
        packed = folder / "packed"
        run(tl, "export", run_folder, "--format", "package", "--out", packed)
        assert predict(packed, True) == predict(run_folder, True), "the package says something else than the run"


def embedded(check, net, tl, source, folder, asked, pool):
    """Pooled features, as `tl features` has them."""
    out = folder / "embeddings"
    run(tl, "export", *source, "--format", "transformers", "--embeddings", "--out", out)
    features = folder / "features.npy"
    listed = folder / "asked.txt"
    listed.write_text("\n".join(asked) + "\n")
    words = source if source[0] == "--backbone" else [source[0]]
    run(tl, "features", *words, *asked, *pool, "--max-length", "24", "--precision", "f32", "--out", features)
    expected = np.load(features)
    model = SentenceTransformer(str(out), device="cpu")
    model.max_seq_length = 24
    check.say(net, "embeddings by tl features", model.encode(asked), expected)
    tokens = model.tokenizer(asked, padding=True, truncation=True, max_length=24, return_tensors="pt",
                             return_token_type_ids=True)
    scripts(check, f"{net} embeddings", tl, source, folder, ["--embeddings"], tokens, expected, 1e-4)


def main():
    tl, *only = sys.argv[1:]
    tl = str(Path(tl).resolve())
    check = Check()
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        tables(place)
        for family, (config, make, heads) in NETS.items():
            if only and family not in only:
                continue
            for i, (head, task, loads) in enumerate(heads):
                folder = place / f"{family}-{i}"
                folder.mkdir()
                make_net(config, make, folder / "net")
                trained(check, tl, family, head, task, loads, folder, place)
        if not only or "minilm" in only:
            folder = place / "minilm"
            folder.mkdir()
            asked = ["A wonderful film.", "dull", "One of the slowest evenings that I can remember, and not the best."]
            embedded(check, "minilm", tl, ["--backbone", "minilm"], folder, asked, [])
    for what, value in sorted(check.worst.items()):
        print(f"worst {what:40} {value:.1e}")
    if check.failed:
        sys.exit(f"{len(check.failed)} differences")


if __name__ == "__main__":
    main()
