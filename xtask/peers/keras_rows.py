"""What Keras on TensorFlow does of the same work: forward passes and training steps of its own nets, a head on kept
features, and its `ImageDataGenerator`.

Names are `forward NET`, `step NET PART`, `cached` and `loader generator`; see `rows.py`.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
from rows import Work, main

BATCH = 16
NETS = {
    "resnet50": keras.applications.ResNet50,
    "mobilenet-v2": keras.applications.MobileNetV2,
    "vgg16": keras.applications.VGG16,
    "inception-v3": keras.applications.InceptionV3,
    "convnext-tiny": keras.applications.ConvNeXtTiny,
}
# The first layer that trains, at the same place of the net as in the product; none where all train.
TRAINED = {
    ("resnet50", "last stage"): "conv5_block1_1_conv",
    ("resnet50", "half"): "conv3_block1_1_conv",
    ("resnet50", "all"): None,
    ("mobilenet-v2", "last stage"): "block_16_expand",
    ("mobilenet-v2", "half"): "block_6_expand",
    ("mobilenet-v2", "all"): None,
}


def classifier(net, policy="float32"):
    keras.mixed_precision.set_global_policy(policy)
    base = NETS[net](include_top=False, weights=None, pooling="avg", input_shape=(224, 224, 3))
    model = keras.Sequential([base, keras.layers.Dense(10, dtype="float32")])
    keras.mixed_precision.set_global_policy("float32")
    return base, model


def compiled(model):
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def forward_rows(net):
    x = np.random.rand(BATCH, 224, 224, 3).astype("float32")
    labels = np.arange(BATCH) % 10

    def predict(policy):
        base, _ = classifier(net, policy)
        return Work(BATCH, lambda: base.predict_on_batch(x))

    def fit():
        base, model = classifier(net)
        base.trainable = False
        compiled(model)
        return Work(BATCH, lambda: model.train_on_batch(x, labels))

    return {
        "keras predict": lambda: predict("float32"),
        "keras predict, mixed bf16": lambda: predict("mixed_bfloat16"),
        "keras fit of a head on the frozen base": fit,
    }


def step_rows(net, part):
    x = np.random.rand(BATCH, 224, 224, 3).astype("float32")
    labels = np.arange(BATCH) % 10

    def row(policy):
        base, model = classifier(net, policy)
        first = TRAINED[net, part]
        trains = first is None
        for layer in base.layers:
            trains = trains or layer.name == first
            # Frozen norms, as a fine-tuner with little data has them.
            layer.trainable = trains and not isinstance(layer, keras.layers.BatchNormalization)
        compiled(model)
        return Work(BATCH, lambda: model.train_on_batch(x, labels))

    return {"keras fit": lambda: row("float32"), "keras fit, mixed bf16": lambda: row("mixed_bfloat16")}


def cached_rows():
    count, width = 4096, 1280
    xs, labels = np.random.rand(count, width).astype("float32"), np.arange(count) % 10

    def fit():
        model = compiled(keras.Sequential([keras.Input((width,)), keras.layers.Dropout(0.2), keras.layers.Dense(10)]))
        return Work(count, lambda: model.fit(xs, labels, batch_size=BATCH, verbose=0), warm=1)

    return {"keras fit": fit}


def loader_rows(photos):
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    def row():
        generator = ImageDataGenerator(
            rotation_range=20, zoom_range=0.2, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True
        )
        flow = generator.flow_from_directory(photos, (224, 224), batch_size=BATCH)
        return Work(flow.n, lambda: [flow[i] and None for i in range(len(flow))], warm=1)

    return {"keras ImageDataGenerator": row}


def rows_of(kind, rest, photos):
    net, _, part = rest.partition(" ")
    if kind == "forward" and net in NETS:
        return "images/s", forward_rows(net)
    if kind == "step" and (net, part) in TRAINED:
        return "images/s", step_rows(net, part)
    if kind == "cached":
        return "images/s", cached_rows()
    if kind == "loader" and rest == "generator":
        return "images/s", loader_rows(photos)
    return "", {}


main(rows_of, f"Keras {keras.__version__}, TensorFlow")
