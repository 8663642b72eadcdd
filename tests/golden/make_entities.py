"""Golden data of entities in tags: what seqeval finds and measures; and of tags of single words: what scikit-learn does.

Needs: pip install seqeval==1.2.2 (with scikit-learn and numpy).
Writes: crates/tl-text/tests/data/entities.json and words.json

Sentences are drawn at random, so that every pair of tags occurs, right ones and senseless ones.
"""

import json
import random
import warnings
from pathlib import Path

from seqeval.metrics import accuracy_score, classification_report, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2
from sklearn import metrics as sk

warnings.filterwarnings("ignore")
OUT = Path(__file__).resolve().parents[2] / "crates/tl-text/tests/data/entities.json"
WORDS = OUT.with_name("words.json")
KINDS = ["LOC", "ORG", "PER"]
PARTS = ["ADJ", "DET", "NOUN", "PUNCT", "VERB", "-LRB-", "X"]


def drawn(rng, prefixes, n):
    """Tags that mostly stay what they are, so that there are long entities."""
    tags = ["O"] + [f"{p}-{k}" for p in prefixes for k in KINDS]
    sentence, kind = [], rng.choice(KINDS)
    for _ in range(n):
        if rng.random() < 0.4:
            kind = rng.choice(KINDS)
        sentence.append("O" if rng.random() < 0.3 else f"{rng.choice(prefixes)}-{kind}" if rng.random() < 0.8 else rng.choice(tags))
    return sentence


def valid(rng, n):
    """IOB2 as people write it."""
    sentence = []
    while len(sentence) < n:
        if rng.random() < 0.5:
            sentence.append("O")
        else:
            kind, length = rng.choice(KINDS), rng.randint(1, 4)
            sentence += [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
    return sentence[:n]


def noisy(rng, sentence):
    tags = ["O"] + [f"{p}-{k}" for p in "BI" for k in KINDS]
    return [rng.choice(tags) if rng.random() < 0.25 else tag for tag in sentence]


def figures(report):
    return {k: [v["precision"], v["recall"], v["f1-score"], int(v["support"])] for k, v in report.items() if k in KINDS}


def measured(right, said):
    strict = dict(mode="strict", scheme=IOB2)
    return {
        "right": [" ".join(s) for s in right],
        "said": [" ".join(s) for s in said],
        "accuracy": accuracy_score(right, said),
        "default": [f(right, said) for f in (precision_score, recall_score, f1_score)],
        "strict": [f(right, said, **strict) for f in (precision_score, recall_score, f1_score)],
        "kinds": figures(classification_report(right, said, output_dict=True)),
    }


def words(rng):
    """Parts of speech, of which one is never right and one never said."""
    right = [[rng.choice(PARTS[:-1]) for _ in range(rng.randint(1, 12))] for _ in range(30)]
    other = [p for p in PARTS if p != "-LRB-"]
    said = [[rng.choice(other) if rng.random() < 0.3 or tag == "-LRB-" else tag for tag in s] for s in right]
    flat = [[tag for s in sentences for tag in s] for sentences in (right, said)]
    names = sorted(PARTS)
    figures = sk.precision_recall_fscore_support(*flat, labels=names, zero_division=0)
    return {
        "right": [" ".join(s) for s in right],
        "said": [" ".join(s) for s in said],
        "accuracy": sk.accuracy_score(*flat),
        "macro_f1": sk.f1_score(*flat, average="macro", zero_division=0),
        "tags": {n: [float(v) for v in row[:3]] + [int(row[3])] for n, row in zip(names, zip(*figures))},
        "confusion": sk.confusion_matrix(*flat, labels=names).tolist(),
    }


def main():
    rng = random.Random(20)
    sentences = [drawn(rng, "BI", rng.randint(1, 14)) for _ in range(40)]
    sentences += [drawn(rng, "BIES", rng.randint(1, 14)) for _ in range(40)]
    found = [{"tags": " ".join(s), "entities": get_entities(s)} for s in sentences]
    right = [valid(rng, rng.randint(1, 16)) for _ in range(40)]
    sets = [
        measured(right, [noisy(rng, s) for s in right]),
        measured(right[:5], right[:5]),
        measured(right[:5], [["O"] * len(s) for s in right[:5]]),
    ]
    OUT.write_text(json.dumps({"found": found, "measured": sets}, separators=(",", ":")) + "\n")
    WORDS.write_text(json.dumps(words(random.Random(21)), separators=(",", ":")) + "\n")
    for path in (OUT, WORDS):
        print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
