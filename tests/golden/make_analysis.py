"""Golden analyses, for crates/tl-run/src/analysis/.

    pip install scikit-learn==1.9.1 scipy statsmodels cleanlab numpy
    python tests/golden/make_analysis.py

Curves, areas and losses are scikit-learn's, the temperature is SciPy's minimum, the label errors are the off-diagonals of
cleanlab's confident joint, McNemar's test is statsmodels', intervals are SciPy's. The expected calibration error is that of
`ECELoss` of github.com/gpleiss/temperature_scaling, written out below.

Probabilities are whole numbers over a power of two, so that they are the same in every type and ties are common.
"""

import json
from pathlib import Path

import numpy as np
from cleanlab.count import compute_confident_joint
from scipy import optimize, stats
from sklearn import metrics as sk
from statsmodels.stats.contingency_tables import mcnemar

OUT = Path(__file__).parents[2] / "crates/tl-run/tests/data/analysis.json"


def draw(rng, n, classes, of, wrong):
    """Labels, some of them wrong, and probabilities that know the right ones and are too sure."""
    right = rng.integers(0, classes, n)
    scores = rng.normal(size=(n, classes)) + 2.5 * np.eye(classes)[right]
    p = np.exp(2 * scores) / np.exp(2 * scores).sum(1, keepdims=True)
    # No probability is 0.
    counts = np.array([rng.multinomial(of - classes, row) for row in p]) + 1
    labels = np.where(rng.random(n) < wrong, rng.integers(0, classes, n), right)
    return labels, counts


def scaled(p, temperature):
    roots = p ** (1 / temperature)
    return roots / roots.sum(1, keepdims=True)


def reliability(p, labels, bins=15):
    confidences, right = p.max(1), p.argmax(1) == labels
    edges, rows = np.linspace(0, 1, bins + 1), []
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidences > low) & (confidences <= high)
        if inside.any():
            rows.append((int(inside.sum()), float(confidences[inside].mean()), float(right[inside].mean())))
    return rows, sum(n * abs(a - b) for n, a, b in rows) / len(labels)


def of_classes(name, rng, n, classes, of, wrong):
    labels, counts = draw(rng, n, classes, of, wrong)
    p = counts / of
    loss = lambda t: sk.log_loss(labels, scaled(p, t), labels=range(classes))
    best = optimize.minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9}).x
    rows, ece = reliability(p, labels)
    _, suspects = compute_confident_joint(labels, p, return_indices_of_off_diagonals=True)
    case = {
        "name": name,
        "of": of,
        "counts": counts.tolist(),
        "labels": labels.tolist(),
        "ece": ece,
        "nll": sk.log_loss(labels, p, labels=range(classes)),
        "temperature": best,
        "ece_scaled": reliability(scaled(p, best), labels)[1],
        "nll_scaled": loss(best),
        "reliability": rows,
        "suspects": sorted(int(i) for i in suspects),
    }
    if classes == 2:
        fpr, tpr, _ = sk.roc_curve(labels, p[:, 1], drop_intermediate=False)
        precision, recall, _ = sk.precision_recall_curve(labels, p[:, 1])
        case |= {
            "roc": list(zip(fpr.tolist(), tpr.tolist())),
            "precision_recall": list(zip(recall[::-1].tolist(), precision[::-1].tolist())),
            "auroc": sk.roc_auc_score(labels, p[:, 1]),
            "average_precision": sk.average_precision_score(labels, p[:, 1]),
        }
    return case


def of_pairs(first, second):
    table = np.zeros((2, 2))
    np.add.at(table, (first, second), 1)
    return {"first": first.tolist(), "second": second.tolist(), "p": float(mcnemar(table, exact=True).pvalue)}


def of_seeds(values):
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return {"values": values.tolist(), "mean": float(np.mean(values)), "half": float(high - low) / 2}


def main():
    rng = np.random.default_rng(11)
    pairs = [(rng.random(n) < a, rng.random(n) < b) for n, a, b in [(40, 0.9, 0.6), (153, 0.95, 0.94), (20, 1, 1)]]
    first = rng.random(200).round(3)
    second = (first + rng.normal(0.02, 0.1, 200)).round(3)
    resampled = stats.bootstrap(
        (second - first,), np.mean, n_resamples=20000, method="percentile", random_state=rng
    ).confidence_interval
    golden = {
        "classes": [
            of_classes("two classes", rng, 80, 2, 64, 0.1),
            of_classes("five classes", rng, 90, 5, 256, 0.15),
            of_classes("three classes, fine", rng, 60, 3, 1 << 16, 0.1),
        ],
        "mcnemar": [of_pairs(a.astype(int), b.astype(int)) for a, b in pairs],
        "intervals": [of_seeds(rng.normal(0.9, 0.01, n).round(4)) for n in (2, 5, 31, 60)],
        "bootstrap": {
            "first": first.tolist(),
            "second": second.tolist(),
            "low": float(resampled.low),
            "high": float(resampled.high),
        },
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


main()
