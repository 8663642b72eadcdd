"""What Keras on TensorFlow does of the same work: forward passes of its own nets.

    python keras_rows.py ROUNDS OUT.json NAME...

NAME is `forward NET`; nets that Keras does not have are left out. The file is in the form of `cargo xtask bench --json`.
"""

import json
import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np

BATCH = 16
NETS = {
    "resnet50": keras.applications.ResNet50,
    "mobilenet-v2": keras.applications.MobileNetV2,
    "vgg16": keras.applications.VGG16,
    "inception-v3": keras.applications.InceptionV3,
    "convnext-tiny": keras.applications.ConvNeXtTiny,
}


def rows(name):
    x = np.random.rand(BATCH, 224, 224, 3).astype("float32")
    base = NETS[name](include_top=False, weights=None, pooling="avg", input_shape=(224, 224, 3))
    base.trainable = False
    net = keras.Sequential([base, keras.layers.Dense(10)])
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = np.arange(BATCH) % 10
    return {
        "keras predict": lambda: base.predict_on_batch(x),
        "keras fit of a head on the frozen base": lambda: net.train_on_batch(x, labels),
    }


def rate(run):
    start, done = time.perf_counter(), 0
    while True:
        run()
        done += BATCH
        seconds = time.perf_counter() - start
        if seconds >= 0.5:
            return done / seconds


def main():
    rounds, out, *names = sys.argv[1:]
    figures = []
    for name in names:
        kind, net = name.split(" ", 1)
        if kind != "forward" or net not in NETS:
            continue
        runs = rows(net)
        for run in runs.values():
            run(), run()
        rates = {row: [] for row in runs}
        for _ in range(int(rounds)):
            for row, run in runs.items():
                rates[row].append(rate(run))
        for row, found in rates.items():
            figures.append({
                "name": f"{name} {row}", "unit": "images/s", "median": statistics.median(found),
                "low": min(found), "high": max(found), "rounds": found,
            })
    with open(out, "w") as file:
        json.dump({"machine": f"Keras {keras.__version__}, TensorFlow", "figures": figures}, file, indent=1)


main()
