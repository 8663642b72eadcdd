"""Golden data for tl-linear: scikit-learn's LogisticRegression (lbfgs) and KNeighborsClassifier.

Needs scikit-learn and numpy. Rows are made by a formula that the test has too; only labels' rules, options and
results are written.

    python tests/golden/make_linear.py

writes crates/tl-linear/tests/data/golden.json.
"""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

OUT = pathlib.Path(__file__).parents[2] / "crates/tl-linear/tests/data/golden.json"


def rows(n, f):
    """Every third value is 0; the columns have different sizes."""
    i, j = np.meshgrid(np.arange(n), np.arange(f), indexing="ij")
    x = np.sin(1.0 + i * 1.3 + j * 0.7 + i * j * 0.11) * (1.0 + j % 4)
    return np.where((i * 2 + j) % 3 == 0, 0.0, x)


def labels(x, classes):
    """By two columns, and every ninth row by its number, so that classes overlap and are of different sizes."""
    n = len(x)
    score = x[:, 0] - 0.5 * x[:, 3] + 0.25 * np.cos(np.arange(n) * 2.0)
    cuts = {2: [0.6], 3: [-0.8, 0.5], 5: [-1.2, -0.5, 0.2, 1.1]}[classes]
    y = np.searchsorted(cuts, score)
    return np.where(np.arange(n) % 9 == 0, np.arange(n) // 9 % classes, y)


def main():
    n, f, held = 160, 12, 24
    x = rows(n + held, f)
    logistic = []
    for classes in (2, 3, 5):
        y = labels(x, classes)[:n]
        sample = 0.2 + (np.arange(n) * 7 % 11) / 5.0
        for c, weights, intercept, weighed in [
            (1.0, None, True, False),
            (0.03, None, True, False),
            (20.0, "balanced", True, False),
            (1.0, "balanced", True, True),
            (0.5, [0.5 + k for k in range(classes)], True, True),
            (2.0, None, False, True),
        ]:
            given = dict(enumerate(weights)) if isinstance(weights, list) else weights
            model = LogisticRegression(C=c, class_weight=given, fit_intercept=intercept, tol=1e-9, max_iter=10000)
            model.fit(x[:n], y, sample_weight=sample if weighed else None)
            logistic.append({
                "classes": classes, "c": c, "class_weights": weights, "intercept": intercept, "weighed": weighed,
                "proba": np.round(model.predict_proba(x[n:]), 9).ravel().tolist(),
                "scores": np.round(np.atleast_2d(model.decision_function(x[n:])), 7).ravel().tolist(),
            })
    knn = []
    y = labels(x, 3)[:n]
    for metric in ("cosine", "euclidean"):
        for vote in ("uniform", "distance"):
            model = KNeighborsClassifier(7, weights=vote, metric=metric, algorithm="brute").fit(x[:n], y)
            knn.append({
                "distance": {"euclidean": "euclid"}.get(metric, metric), "vote": vote,
                "proba": np.round(model.predict_proba(x[n:]), 9).ravel().tolist(),
            })
    data = {"made_by": f"scikit-learn {sklearn.__version__}", "train": n, "held_out": held, "columns": f,
            "labels": {str(k): labels(x, k)[:n].tolist() for k in (2, 3, 5)}, "logistic": logistic, "knn": knn}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(data, separators=(",", ":")) + "\n")
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
