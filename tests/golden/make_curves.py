"""Golden learning rates, for crates/tl-finetune.

    pip install torch==2.11.0 keras==3.15.0
    KERAS_BACKEND=torch python tests/golden/make_curves.py

Rates (and for one-cycle momentums) are read from an optimizer of rate 1 under PyTorch's schedulers, before each step.
Cosine is read in the middle of a step: with twice the steps, at the odd ones. A warm-up in front of it is written out
below, as is `get_linear_schedule_with_warmup` of transformers (`optimization.py`), likewise read in the middle, and
equation 3 of ULMFiT (arXiv:1801.06146). Epochs after which a phase stops are those of Keras's `EarlyStopping`.
"""

import json
import math
from pathlib import Path

import keras
import torch
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

OUT = Path(__file__).parents[2] / "crates/tl-finetune/tests/data/curves.json"

SCORES = {
    "bumpy": [1.0, 0.8, 0.81, 0.8, 0.79, 0.795, 0.795, 0.79, 0.6, 0.7, 0.7, 0.7, 0.7],
    "rising": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    "flat": [0.5] * 8,
    "creeping": [0.5, 0.505, 0.51, 0.515, 0.52, 0.525, 0.53],
}


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)


def read(scheduler, steps):
    """Rates and momentums before each step."""
    group, rates, momentums = scheduler.optimizer.param_groups[0], [], []
    for step in range(steps):
        rates.append(group["lr"])
        momentums.append(group["momentum"])
        scheduler.optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    return rates, momentums


def case(curve, steps_per_epoch, epochs, factors, momentums=None):
    return {
        "curve": curve,
        "steps_per_epoch": steps_per_epoch,
        "epochs": epochs,
        "factors": factors,
        "momentums": momentums,
    }


def by_epoch(curve, make, steps_per_epoch, epochs):
    rates, _ = read(make(optimizer()), epochs)
    return case(curve, steps_per_epoch, epochs, [rate for rate in rates for _ in range(steps_per_epoch)])


def one_cycle(steps_per_epoch, epochs, start=0.3, div=25.0, final_div=1e4):
    scheduler = OneCycleLR(
        optimizer(),
        max_lr=1.0,
        total_steps=steps_per_epoch * epochs,
        pct_start=start,
        div_factor=div,
        final_div_factor=final_div,
    )
    curve = {"shape": "one-cycle", "start": start, "div": div, "final_div": final_div}
    return case(curve, steps_per_epoch, epochs, *read(scheduler, steps_per_epoch * epochs))


def cosine(steps_per_epoch, epochs, warmup):
    """Warm-up and annealing each at twice the steps, of which both have a whole number here."""
    steps = 2 * steps_per_epoch * epochs
    rise = round(steps * warmup)
    assert abs(rise - steps * warmup) < 1e-9
    rates = [i / rise for i in range(rise)]
    rates += read(CosineAnnealingLR(optimizer(), T_max=steps - rise), steps - rise)[0]
    return case({"shape": "cosine", "warmup": warmup}, steps_per_epoch, epochs, rates[1::2])


def linear(steps_per_epoch, epochs, warmup):
    steps = 2 * steps_per_epoch * epochs
    rise = round(steps * warmup)
    assert abs(rise - steps * warmup) < 1e-9

    def factor(step):
        if step < rise:
            return float(step) / float(max(1, rise))
        return max(0.0, float(steps - step) / float(max(1, steps - rise)))

    rates, _ = read(LambdaLR(optimizer(), factor), steps)
    return case({"shape": "linear", "warmup": warmup}, steps_per_epoch, epochs, rates[1::2])


def slanted(steps_per_epoch, epochs, cut_frac, ratio):
    """Only where the peak is at a whole step: else the equation goes below 0."""
    steps = steps_per_epoch * epochs
    cut = math.floor(steps * cut_frac)
    assert abs(cut - steps * cut_frac) < 1e-9

    def rate(t):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        return (1 + p * (ratio - 1)) / ratio

    curve = {"shape": "slanted-triangular", "cut": cut_frac, "ratio": ratio}
    return case(curve, steps_per_epoch, epochs, [rate(t) for t in range(steps)])


def plateau(scores, metric, mode, factor, patience, min_delta):
    """The rate of each epoch, the first before any score."""
    opt = optimizer()
    scheduler = ReduceLROnPlateau(
        opt, mode=mode, factor=factor, patience=patience, threshold=min_delta, threshold_mode="abs"
    )
    rates = [1.0]
    for score in SCORES[scores]:
        scheduler.step(score)
        rates.append(opt.param_groups[0]["lr"])
    curve = {
        "shape": "plateau",
        "factor": factor,
        "patience": patience,
        "min_delta": min_delta,
        "metric": metric,
    }
    return {"curve": curve, "history": SCORES[scores], "factors": rates}


def stop(scores, metric, mode, patience, min_delta):
    """The number of epochs after which Keras stops, or none."""
    callback = keras.callbacks.EarlyStopping(
        monitor="score", mode=mode, patience=patience, min_delta=min_delta
    )

    class Model:
        stop_training = False

        def get_weights(self):
            return []

    model = Model()
    callback.set_model(model)
    callback.on_train_begin()
    after = None
    for epoch, score in enumerate(SCORES[scores]):
        callback.on_epoch_end(epoch, {"score": score})
        if model.stop_training:
            after = epoch + 1
            break
    stopping = {"patience": patience, "min_delta": min_delta, "metric": metric}
    return {"early_stopping": stopping, "history": SCORES[scores], "after": after}


curves = [
    by_epoch({"shape": "step", "every": 2}, lambda o: StepLR(o, 2), 3, 7),
    by_epoch({"shape": "step", "every": 3, "gamma": 0.5}, lambda o: StepLR(o, 3, 0.5), 2, 8),
    by_epoch({"shape": "exponential", "gamma": 0.9}, lambda o: ExponentialLR(o, 0.9), 3, 6),
    cosine(5, 4, 0.0),
    cosine(5, 4, 0.1),
    cosine(7, 1, 0.5),
    linear(5, 4, 0.1),
    linear(4, 3, 0.0),
    linear(3, 4, 0.25),
    slanted(10, 4, 0.1, 32.0),
    slanted(5, 2, 0.5, 10.0),
    one_cycle(7, 3),
    one_cycle(5, 4, start=0.25, div=5.0, final_div=2e4),
    one_cycle(10, 1, start=0.99, final_div=4e3),
    one_cycle(3, 3, start=0.05),
    one_cycle(2, 2, start=1.0),
    one_cycle(4, 2, start=0.0),
]
plateaus = [
    plateau("bumpy", "loss", "min", 0.1, 2, 1e-4),
    plateau("bumpy", "log-loss", "min", 0.5, 0, 0.0),
    plateau("bumpy", "loss", "min", 0.5, 1, 0.02),
    plateau("rising", "accuracy", "max", 0.1, 1, 0.0),
    plateau("rising", "loss", "min", 0.1, 1, 0.0),
    plateau("flat", "accuracy", "max", 0.25, 1, 0.0),
    plateau("creeping", "auroc", "max", 0.5, 1, 0.012),
]
stops = [
    stop("bumpy", "loss", "min", 1, 0.0),
    stop("bumpy", "loss", "min", 2, 0.0),
    stop("bumpy", "loss", "min", 3, 0.0),
    stop("bumpy", "loss", "min", 3, 0.02),
    stop("bumpy", "loss", "min", 4, 0.0),
    stop("bumpy", "loss", "min", 5, 0.0),
    stop("rising", "accuracy", "max", 1, 0.0),
    stop("rising", "ece", "min", 2, 0.0),
    stop("flat", "accuracy", "max", 3, 0.0),
    stop("creeping", "auroc", "max", 2, 0.012),
    stop("creeping", "auroc", "max", 3, 0.012),
]

OUT.parent.mkdir(parents=True, exist_ok=True)
sections = {"curves": curves, "plateaus": plateaus, "stops": stops}


def section(name, cases):
    return f"  {json.dumps(name)}: [\n" + ",\n".join(f"    {json.dumps(c)}" for c in cases) + "\n  ]"


OUT.write_text("{\n" + ",\n".join(section(*item) for item in sections.items()) + "\n}\n")
