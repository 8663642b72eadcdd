"""Golden metrics, for crates/tl-train/src/metrics/.

    pip install scikit-learn==1.9.1 torchmetrics==1.9.0 numpy
    python tests/golden/make_metrics.py

Everything is scikit-learn's but the expected calibration error, which is that of Guo et al. (`ECELoss` of
github.com/gpleiss/temperature_scaling, written out below) and checked against torchmetrics.

Probabilities are whole numbers over a power of two, so that they are the same in every type, rows sum to 1 and ties and
zeros are common. What scikit-learn cannot say (a class without examples, a target that is constant) is null; means over
classes are then those over the others.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn import metrics as sk
from torchmetrics.functional.classification import multiclass_calibration_error

OUT = Path(__file__).parents[2] / "crates/tl-train/tests/data/metrics.json"


def draw(rng, n, classes, of, present=None):
    """Labels among the first `present` classes, and probabilities that know them a little."""
    labels = rng.integers(0, present or classes, n)
    scores = rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return labels, np.array([rng.multinomial(of, row) for row in p])


def ece(p, labels, bins=15):
    confidences, predictions = p.max(1), p.argmax(1)
    accuracies = predictions == labels
    edges, sum_ = np.linspace(0, 1, bins + 1), 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidences > low) & (confidences <= high)
        if inside.any():
            sum_ += abs(confidences[inside].mean() - accuracies[inside].mean()) * inside.mean()
    # torchmetrics has 1 in a bin of its own.
    if confidences.max() < 1:
        other = multiclass_calibration_error(
            torch.tensor(p), torch.tensor(labels), p.shape[1], n_bins=bins, norm="l1", validate_args=False
        )
        assert abs(float(other) - sum_) < 1e-6, (other, sum_)
    return sum_


def over_defined(function, truth, scores):
    """Mean over the columns that have examples and something else."""
    values = [function(t, s) for t, s in zip(truth.T, scores.T) if 0 < t.sum() < len(t)]
    return float(np.mean(values)) if values else None


def precisions(truth, scores):
    values = [sk.average_precision_score(t, s) for t, s in zip(truth.T, scores.T) if t.any()]
    return float(np.mean(values)) if values else None


def numbers(values):
    return [None if np.isnan(value) else float(value) for value in values]


def of_classes(name, rng, n, classes, of, present=None):
    labels, counts = draw(rng, n, classes, of, present)
    p = counts / of
    everything = list(range(classes))
    predicted = p.argmax(1)
    one_hot = np.eye(classes, dtype=int)[labels]
    whole = len(set(labels)) == classes
    ordered = -np.sort(-counts, axis=1)
    k = min(5, classes)
    clear = k == classes or (ordered[:, k - 1] > ordered[:, k]).all()
    if classes == 2:
        auroc = float(sk.roc_auc_score(labels, p[:, 1])) if whole else None
        precision = float(sk.average_precision_score(labels, p[:, 1])) if labels.any() else None
        assert auroc is None or abs(auroc - over_defined(sk.roc_auc_score, one_hot, p)) < 1e-12
    else:
        auroc, precision = over_defined(sk.roc_auc_score, one_hot, p), precisions(one_hot, p)
        if whole:
            assert abs(auroc - sk.roc_auc_score(labels, p, multi_class="ovr")) < 1e-12
            assert abs(precision - sk.average_precision_score(one_hot, p)) < 1e-12
    by_class = sk.precision_recall_fscore_support(labels, predicted, labels=everything, zero_division=np.nan)
    values = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced-accuracy": sk.balanced_accuracy_score(labels, predicted),
        "macro-f1": sk.f1_score(labels, predicted, average="macro"),
        "auroc": auroc,
        "average-precision": precision,
        "log-loss": sk.log_loss(labels, y_proba=p, labels=everything),
        "ece": ece(p, labels),
    }
    # Of equals scikit-learn takes the last classes, which nothing else does.
    if clear:
        values["top5-accuracy"] = (
            1.0 if k == classes else sk.top_k_accuracy_score(labels, p, k=k, labels=everything)
        )
    return {
        "name": name,
        "of": of,
        "counts": counts.tolist(),
        "labels": labels.tolist(),
        "values": values,
        "confusion": sk.confusion_matrix(labels, predicted, labels=everything).tolist(),
        "precision": numbers(by_class[0]),
        "recall": numbers(by_class[1]),
        "f1": numbers(by_class[2]),
        "brier": sk.brier_score_loss(labels, p, labels=everything) if whole else None,
    }


def of_labels(name, rng, n, labels, of, absent=()):
    truth = (rng.random((n, labels)) < 0.3).astype(int)
    truth[:, list(absent)] = 0
    noisy = 1 / (1 + np.exp(-rng.normal(size=(n, labels)) - 2 * truth + 1))
    counts = np.round(noisy * of).astype(int)
    # One that is never present nor said to be.
    counts[:, list(absent)] //= 4
    p = counts / of
    predicted = (p >= 0.5).astype(int)
    return {
        "name": name,
        "of": of,
        "counts": counts.tolist(),
        "present": truth.tolist(),
        "values": {
            "macro-f1": sk.f1_score(truth, predicted, average="macro", zero_division=np.nan),
            "auroc": over_defined(sk.roc_auc_score, truth, p),
            "average-precision": precisions(truth, p),
        },
        "micro_f1": sk.f1_score(truth, predicted, average="micro"),
    }


def of_values(name, rng, n, targets, constant=()):
    truth = rng.integers(-64, 64, (n, targets))
    truth[:, list(constant)] = 7
    predicted = truth + rng.integers(-24, 24, (n, targets))
    varied = [i for i in range(targets) if i not in constant]
    return {
        "name": name,
        "predicted": predicted.tolist(),
        "targets": truth.tolist(),
        "values": {
            "mae": sk.mean_absolute_error(truth, predicted),
            "r2": sk.r2_score(truth[:, varied], predicted[:, varied]) if varied else None,
        },
        "rmse": sk.root_mean_squared_error(truth, predicted),
    }


def main():
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(7)
    cases = {
        "classes": [
            of_classes("seven classes, coarse", rng, 80, 7, 64),
            of_classes("seven classes, fine", rng, 60, 7, 1 << 20),
            of_classes("two classes", rng, 50, 2, 32),
            of_classes("three classes, one without examples", rng, 30, 3, 64, 2),
            of_classes("two classes, one without examples", rng, 10, 2, 64, 1),
        ],
        "labels": [
            of_labels("five labels", rng, 40, 5, 16),
            of_labels("four labels, one never present", rng, 30, 4, 16, [2]),
        ],
        "values": [
            of_values("one number", rng, 30, 1),
            of_values("three numbers, one constant", rng, 20, 3, [1]),
            of_values("one constant number", rng, 10, 1, [0]),
        ],
    }
    body = ",\n".join(
        f'"{kind}": [\n' + ",\n".join(json.dumps(case, separators=(",", ":")) for case in rows) + "\n]"
        for kind, rows in cases.items()
    )
    OUT.write_text("{\n" + body + "\n}\n")


main()
