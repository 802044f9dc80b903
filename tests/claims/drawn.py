"""What checks draw beyond ``strategies``: ties, simplices, their longest edge."""

import torch
from torch import Tensor

from strategies import Problem


def tied(p: Problem, length: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Two opposite prototypes, soft labels, and a token (1, d) close to the tie.

    At the tie the bounds on the curvature are attained.
    """
    v = length * p.B[:1] / p.B[:1].norm()
    label = torch.full((1, 2), 0.5).double()
    return torch.cat([v, -v]), label, 1e-3 * v / length**2


def simplex(p: Problem, salt: int) -> Tensor:
    """Affinely independent prototypes, at most 7 in 6 dimensions: (k', d')."""
    d = min(p.d, 6)
    return p.draw(min(p.k, d) + 1, d, salt=salt)


def edge(theta: Tensor) -> tuple[Tensor, Tensor]:
    """The longest edge of affinely independent prototypes.

    Returns:
        u (1, d) with the score of both of its ends 1 above those of all others, and
        the difference (1, d) of the ends.
    """
    apart = torch.cdist(theta, theta)
    a, b = divmod(int(apart.argmax()), len(theta))
    others = [j for j in range(len(theta)) if j not in (a, b)]
    along = theta[a] - theta[b]
    rows = torch.cat([along[None], theta[a] - theta[others]])
    gaps = torch.tensor([0.0] + [1.0] * len(others)).double()
    return torch.linalg.lstsq(rows, gaps[:, None]).solution.T, along[None]
