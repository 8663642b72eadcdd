#!/usr/bin/env python3
"""Writes `train.tsv` and `val.tsv` of this folder from the source distribution of vaderSentiment 3.3.2.

    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2
    python3 make.py vaderSentiment-3.3.2.tar.gz [--out DIR]

Only the Python standard library is used. A snippet is `positive` or `negative` by the sign of its mean rating; those
rated 0 and repeated ones are dropped. In the order of the sha256 of the text, the first TRAIN of each class are
`train.tsv`, the next VAL `val.tsv`.
"""

import argparse
import hashlib
import io
import json
import tarfile
from pathlib import Path

SOURCE_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
FILE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
CLASSES = ["negative", "positive"]
TRAIN = 1000
VAL = 250


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def member(archive, name):
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return tar.extractfile(name).read()


def snippets(raw):
    """-> {class: [text]}, in the order of the sha256 of the texts."""
    found, seen = {name: [] for name in CLASSES}, set()
    for line in raw.decode("utf-8").splitlines():
        _, rating, text = line.split("\t")
        text = " ".join(text.split())
        key = text.lower()
        if float(rating) != 0 and key not in seen:
            seen.add(key)
            found[CLASSES[float(rating) > 0]].append(text)
    return {name: sorted(texts, key=lambda text: sha256(text.encode())) for name, texts in found.items()}


def fingerprint(rows):
    """The crate's `TextDataset::fingerprint` of all parts together."""
    lines = sorted(f"{sha256(t.encode())}  {sha256(t.encode())[:16]}\0{label}\n" for t, label in rows)
    return sha256("".join([f"class {name}\n" for name in CLASSES] + lines).encode())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path, help="vaderSentiment-3.3.2.tar.gz")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    args = parser.parse_args()

    archive = args.source.read_bytes()
    if sha256(archive) != SOURCE_SHA256:
        raise SystemExit(f"{args.source}: another file than this was written for, sha256 {sha256(archive)}")
    raw = member(member(archive, INNER), FILE)
    by_class = snippets(raw)
    all_rows, facts = [], {"source_sha256": sha256(raw), "files": {}}
    for part, first, end in [("train", 0, TRAIN), ("val", TRAIN, TRAIN + VAL)]:
        rows = [(text, name) for name in CLASSES for text in by_class[name][first:end]]
        rows.sort(key=lambda row: sha256(row[0].encode()))
        path = args.out / f"{part}.tsv"
        path.write_text("text\tlabel\n" + "".join(f"{t}\t{label}\n" for t, label in rows), encoding="utf-8", newline="\n")
        facts["files"][path.name] = {"bytes": path.stat().st_size, "sha256": sha256(path.read_bytes())}
        all_rows += rows
    facts["fingerprint"] = fingerprint(all_rows)
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
