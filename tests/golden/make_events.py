"""A golden event file of TensorBoard, for crates/tl-run/src/events.rs.

    pip install tensorboard setuptools
    python tests/golden/make_events.py          writes the golden file
    python tests/golden/make_events.py RUN      compares a run's event file with its metrics.jsonl

The records are made by TensorBoard's own protocol buffers and record writer, and read back by its EventAccumulator.
"""

import json
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

OUT = Path(__file__).parents[2] / "crates/tl-run/tests/data/events.tfevents"


def read(path):
    events = EventAccumulator(str(path), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def check(run):
    scalars = read(run)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    fields = {
        "loss/train": "train_loss",
        "loss/validation": "val_loss",
        "accuracy/train": "train_accuracy",
        "accuracy/validation": "val_accuracy",
        "rate/head": "rate_head",
    }
    compared = 0
    for tag, field in fields.items():
        want = [(row["epoch"], row[field]) for row in rows if row.get(field) is not None]
        got = scalars.get(tag, [])
        assert [step for step, _ in got] == [step for step, _ in want], tag
        assert all(abs(a - b) <= 1e-6 * abs(b) for (_, a), (_, b) in zip(got, want)), tag
        compared += len(got)
    print(f"{len(rows)} epochs, {len(scalars)} tags, {compared} scalars are those of metrics.jsonl")


def write():
    def epoch(step, time):
        values = [
            ("loss/train", 0.5),
            ("loss/validation", 0.75),
            ("accuracy/train", 0.625),
            ("macro-f1/validation", 0.25),
            ("rate/head", 0.001),
            ("speed/images-per-second", 300.0),
            ("speed/seconds", 2.0),
        ]
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values])
        return Event(wall_time=time, step=step, summary=summary)

    events = [Event(wall_time=1000.5, file_version="brain.Event:2"), epoch(1, 1001.5), epoch(300, 1002.5)]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with open(OUT, "wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())
    assert read(OUT)["loss/train"] == [(1, 0.5), (300, 0.5)]


check(Path(sys.argv[1])) if len(sys.argv) > 1 else write()
