"""Gradient flows in the features, and the integrators that turn them into layers.

A *field* maps features (..., n, d) to their velocity (..., n, d); a *step* maps features to the features one step later.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from imr.attention import cross_attention

Field = Callable[[Tensor], Tensor]
Step = Callable[[Tensor], Tensor]


def linear_field(theta: Tensor, C: Tensor, scale: float = 1.0) -> Field:
    """The gradient flow of the linear model, Ż = −∇L = Cθ − CA(Z, θ) (Chapter 2).

    Args:
        theta: prototypes (k, d).
        C: labels (..., n, k).
        scale: the s of :func:`imr.potentials.linear`.

    Returns:
        The field Z ↦ Cθ − CA(Z, θ): a pull towards each token's own prototype, a push away from the softmax average.
    """
    pull = C @ theta  # (..., n, k) x (k, d) -> (..., n, d)
    return lambda Z: pull - cross_attention(Z, theta, scale)


def euler(field: Field, h: float) -> Step:
    """Explicit Euler, Z ↦ Z + h·field(Z): gradient descent with step size h; first order (Chapter 2)."""
    return lambda Z: Z + h * field(Z)


def trajectory(step: Step, Z: Tensor, iterates: int) -> Tensor:
    """The iterates Z⁽⁰⁾ … Z⁽ᴸ⁾ of a step.

    Args:
        step: maps (..., n, d) to (..., n, d).
        Z: starting features Z⁽⁰⁾ (..., n, d).
        iterates: L ≥ 0, how often the step is taken.

    Returns:
        (L + 1, ..., n, d); entry 0 is ``Z`` itself.

    Raises:
        ValueError: ``iterates`` is negative.
    """
    if iterates < 0:
        raise ValueError(f"iterates is {iterates}, expected 0 or more: the number of steps to take")
    states = [Z]
    for _ in range(iterates):
        states.append(step(states[-1]))
    return torch.stack(states)


def descent_bound(theta: Tensor) -> Tensor:
    """The step size 4/‖θ‖₂² below which each Euler step of the linear flow decreases the loss (Chapter 2, Prop. 2.4).

    ``theta`` is (k, d) and not zero; the result is a scalar tensor. The bound is sufficient, not necessary.
    """
    return 4 / torch.linalg.matrix_norm(theta, ord=2) ** 2
