"""The layers of Keras's VGG and ResNet, for crates/tl-backbones/tests: what `model.layers[i]` is.

    pip install keras==3.15.1 torch==2.11.0
    KERAS_BACKEND=torch python tests/golden/make_keras.py

One line a net: name, then one word a layer, `class:parameters`, in the order of `model.layers`.
"""

from pathlib import Path

import keras

OUT = Path(__file__).parents[2] / "crates/tl-backbones/tests/data/keras_layers.txt"
NETS = {
    "vgg16": keras.applications.VGG16,
    "vgg19": keras.applications.VGG19,
    "resnet50": keras.applications.ResNet50,
    "resnet101": keras.applications.ResNet101,
    "resnet152": keras.applications.ResNet152,
}

lines = []
for name, make in NETS.items():
    net = make(weights=None, include_top=False, input_shape=(224, 224, 3))
    lines.append(" ".join([name, *(f"{type(layer).__name__}:{layer.count_params()}" for layer in net.layers)]))
OUT.write_text("\n".join(lines) + "\n")
print(OUT, OUT.stat().st_size)
