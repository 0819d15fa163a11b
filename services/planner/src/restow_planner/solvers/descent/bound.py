"""What no placement can cost less than; pure."""

import numpy as np

from restow_planner.solvers.descent.arrays import Ground


def least_cost(g: Ground) -> float:
    """The price of load if it could be poured: of each kind, what all hosts carry too much, at the least price.

    Servers that run nowhere count nowhere. Moves and soft rules cost nothing at the best.
    """
    total = g.amount[g.start >= 0].sum(axis=0) - g.over.sum(axis=0)
    least = g.price.min(axis=0) if len(g.price) else np.zeros(g.price.shape[1])
    return float((least * np.maximum(total, 0.0)).sum())
