"""Golden steps of optimizers, for crates/tl-train/src/optimizer_tests.rs.

    pip install torch==2.11.0 timm==1.0.31
    python tests/golden/make_optimizers.py

Two parameters in float64 minimise

    sum(p ** 4) / 4 + sum(p * c) + sum(p.sum(0) * q) + sum(q ** 2) * 3 / 2,    c[i] = sin(i)

for 50 steps. `p` has weight decay; `q` has none and trains from step 20 on, as a group that joins then. The rate falls
by a hundredth of the first in each step. From step 35 on, optimizers with a momentum (or first decay) have it at 0.8, as
under a one-cycle. SGD, Adam, AdamW and RMSprop are `torch.optim`'s; LAMB and Lion are timm's, LAMB without its clipping.
"""

import json
from pathlib import Path

import torch
from timm.optim import Lamb, Lion

OUT = Path(__file__).parents[2] / "crates/tl-train/tests/data/optimizers.json"

STEPS, JOINS, MOVES, MOMENTUM = 50, 20, 35, 0.8


def adam(name, **settings):
    """Our settings, and those of PyTorch."""
    usual = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6 if name == "lamb" else 1e-8, **settings}
    theirs = {"betas": (usual["beta1"], usual["beta2"]), "eps": usual["epsilon"]}
    return {"name": name, **settings}, theirs


CASES = [
    (torch.optim.SGD, ({"name": "sgd"}, {}), 0.1, 0.05),
    (torch.optim.SGD, ({"name": "sgd", "momentum": 0.9}, {"momentum": 0.9}), 0.05, 0.05),
    (
        torch.optim.SGD,
        ({"name": "sgd", "momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
        0.05,
        0.05,
    ),
    (torch.optim.Adam, adam("adam"), 0.05, 0.05),
    (torch.optim.AdamW, adam("adamw"), 0.05, 0.05),
    (torch.optim.AdamW, adam("adamw", beta1=0.7, beta2=0.99, epsilon=1e-5), 0.05, 0.05),
    (torch.optim.RMSprop, ({"name": "rmsprop"}, {}), 0.02, 0.05),
    (
        torch.optim.RMSprop,
        ({"name": "rmsprop", "alpha": 0.9, "epsilon": 1e-3, "momentum": 0.9}, {"alpha": 0.9, "eps": 1e-3, "momentum": 0.9}),
        0.01,
        0.05,
    ),
    (Lamb, (adam("lamb")[0], {**adam("lamb")[1], "max_grad_norm": None}), 0.05, 0.05),
    (Lion, ({"name": "lion"}, {"betas": (0.9, 0.99)}), 0.02, 0.5),
]


def start():
    p = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.1, -0.3]], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([0.3, -0.2, 0.7], dtype=torch.float64, requires_grad=True)
    return p, q


def loss(p, q):
    c = torch.sin(torch.arange(6, dtype=torch.float64)).view(2, 3)
    return (p**4).sum() / 4 + (p * c).sum() + (p.sum(0) * q).sum() + (q**2).sum() * 3 / 2


def run(optimizer, settings, rate, weight_decay):
    p, q = start()
    made = optimizer([{"params": [p], "weight_decay": weight_decay}], lr=rate, **settings)
    values = []
    for step in range(STEPS):
        if step == JOINS:
            made.add_param_group({"params": [q], "weight_decay": 0.0})
        for group in made.param_groups:
            group["lr"] = rate * (1 - step / 100)
            if step >= MOVES and group.get("momentum", 0) > 0:
                group["momentum"] = MOMENTUM
            if step >= MOVES and "betas" in group:
                group["betas"] = (MOMENTUM, group["betas"][1])
        p.grad = q.grad = None
        loss(p, q).backward()
        made.step()
        if step + 1 in (1, JOINS, JOINS + 1, MOVES, STEPS):
            values.append([step + 1, p.flatten().tolist() + q.tolist()])
    return values


def main():
    cases = []
    for optimizer, (ours, theirs), rate, weight_decay in CASES:
        values = run(optimizer, theirs, rate, weight_decay)
        cases.append({"optimizer": ours, "rate": rate, "weight_decay": weight_decay, "values": values})
    lines = ",\n".join(json.dumps(case) for case in cases)
    OUT.write_text(f"[\n{lines}\n]\n")


main()
