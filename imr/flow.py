"""Gradient flows in the features, and the integrators that turn them into layers.

A *field* maps features (..., n, d) to their velocity (..., n, d); a *step* maps features to the features one step later;
a *sub-flow* makes a step from a step size, so that a splitting can ask for half of it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from imr.attention import cross_attention, quadratic_attention, self_attention
from imr.inputs import require_form, require_labels, require_positive

Field = Callable[[Tensor], Tensor]
Step = Callable[[Tensor], Tensor]
SubFlow = Callable[[float], Step]


def linear_field(theta: Tensor, C: Tensor, scale: float = 1.0) -> Field:
    """The gradient flow of the linear model, Ż = −∇L = Cθ − CA(Z, θ) :eq:`eq-flow`.

    Args:
        theta: prototypes (k, d).
        C: labels, probabilities (..., n, k) or class numbers (..., n).
        scale: the s of :func:`imr.potentials.linear`.

    Returns:
        The field Z ↦ Cθ − CA(Z, θ): a pull towards each token's own prototype, a push away from the softmax average.

    Raises:
        ValueError: labels that do not fit the prototypes; from the field, features that do not.
    """
    tokens = -2 if C.is_floating_point() else -1  # the axis of C that counts them
    require_labels(C, C.shape[tokens] if C.ndim >= -tokens else 0, len(theta))
    pull = C @ theta if C.is_floating_point() else theta[C]  # (..., n, k) x (k, d) -> (..., n, d)

    def field(Z: Tensor) -> Tensor:
        if Z.shape[-2:] != pull.shape[-2:]:
            raise ValueError(
                f"Z has shape {tuple(Z.shape)}, expected (..., {pull.shape[-2]}, {pull.shape[-1]}): "
                "one token for each label, with the features of the prototypes"
            )
        return pull - cross_attention(Z, theta, scale)

    return field


def quadratic_field(theta: Tensor, C: Tensor, scale: float = 1.0, causal: bool = False) -> Field:
    """The gradient flow of the quadratic model, Ż = (C − σ)Zθᵀ + (C − σ)ᵀZθ :eq:`eq-quadratic-flow`.

    Args:
        theta: bilinear form (d, d).
        C: labels, probabilities (..., n, n) or token numbers (..., n); the identity is ``torch.arange(n)``.
        scale: the s of :func:`imr.potentials.quadratic`.
        causal: as there.

    Returns:
        The field; with class numbers for labels it never holds an n×n matrix.

    Raises:
        ValueError: from the field, features, form or labels that do not fit.
    """

    def field(Z: Tensor) -> Tensor:
        require_form(Z, theta)
        as_query, as_key = _point(C, Z @ theta.mT), _point_back(C, Z @ theta)
        return as_query + as_key - quadratic_attention(Z, theta, scale, causal)

    return field


def stop_gradient_field(phi: Tensor, C: Tensor, scale: float = 1.0, causal: bool = False) -> Field:
    """Ż = CZφφᵀ − SA(Z, φ): the quadratic flow with keys and values held fixed (:prf:ref:`prop-stop-gradient`).

    Exactly self-attention, and for a causal mask causal; but no Euclidean gradient, so the loss may rise.
    ``phi`` is (d, r); ``C`` as in :func:`quadratic_field`.
    """
    return lambda Z: _point(C, Z @ phi @ phi.mT) - self_attention(Z, phi, scale, causal)


def label_free_field(theta: Tensor, W: Tensor, scale: float = 1.0) -> Field:
    """Ż = ZW − CA(Z, θ): the linear flow where a linear map of the features stands for the labels :eq:`eq-label-free`.

    ``theta`` is (k, d), ``W`` is (d, d).
    """
    return lambda Z: Z @ W - cross_attention(Z, theta, scale)


def euler(field: Field, h: float) -> Step:
    """Explicit Euler, Z ↦ Z + h·field(Z): gradient descent with step size h; order 1 :eq:`eq-euler`."""
    return lambda Z: Z + h * field(Z)


def midpoint(field: Field, h: float) -> Step:
    """The explicit midpoint rule, Z ↦ Z + h·field(Z + h/2·field(Z)): the field applied twice; order 2 (:ref:`ch-block`)."""
    return lambda Z: Z + h * field(Z + h / 2 * field(Z))


def rk4(field: Field, h: float) -> Step:
    """The classical Runge–Kutta step: the field applied four times; order 4 (:ref:`ch-block`)."""

    def step(Z: Tensor) -> Tensor:
        a = field(Z)
        b = field(Z + h / 2 * a)
        c = field(Z + h / 2 * b)
        return Z + h / 6 * (a + 2 * b + 2 * c + field(Z + h * c))

    return step


def lie(first: SubFlow, second: SubFlow, h: float) -> Step:
    """Lie splitting: the first sub-flow for time h, then the second; order 1 :eq:`eq-lie`."""
    one, other = first(h), second(h)
    return lambda Z: other(one(Z))


def strang(outer: SubFlow, inner: SubFlow, h: float) -> Step:
    """Strang splitting: half a step of the outer sub-flow, a step of the inner, the other half; order 2 :eq:`eq-strang`.

    The order is that of the sub-flows if theirs is lower: with an Euler step inside it is 1.
    """
    half, whole = outer(h / 2), inner(h)
    return lambda Z: half(whole(half(Z)))


def shift(velocity: Tensor) -> SubFlow:
    """The exact flow of Ż = V for a constant V (n, d), such as Cθ: Z ↦ Z + hV (:ref:`ch-block`)."""
    return lambda h: lambda Z: Z + h * velocity


def linear_map(W: Tensor) -> SubFlow:
    """The exact flow of Ż = ZW for W (d, d): the linear layer Z ↦ Z e^{hW} (:ref:`ch-block`)."""

    def flow(h: float) -> Step:
        layer = torch.linalg.matrix_exp(h * W)
        return lambda Z: Z @ layer

    return flow


def trajectory(step: Step, Z: Tensor, iterates: int) -> Tensor:
    """The iterates Z⁽⁰⁾ … Z⁽ᴸ⁾ of a step, such as :eq:`eq-euler`.

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


def lipschitz_bound(theta: Tensor, scale: float = 1.0) -> Tensor:
    """Λ = s/4 · max ‖θ_j − θ_l‖², a Lipschitz constant of the linear flow (:prf:ref:`prop-lipschitz`).

    Each Euler step with 0 < h < 2/Λ decreases the loss. Never more than s/2 · ‖θ‖₂², which is often quoted.
    ``theta`` is (k, d), the scale s positive (else a ValueError); the result is a scalar tensor, 0 for a single prototype.
    """
    require_positive(scale)
    distances = torch.cdist(theta, theta, compute_mode="donot_use_mm_for_euclid_dist")  # the fast mode loses digits
    return scale / 4 * distances.max() ** 2


def _point(C: Tensor, X: Tensor) -> Tensor:
    """CX for labels C (n×n or token numbers) and X (..., n, d)."""
    require_labels(C, X.shape[-2], X.shape[-2])
    if C.is_floating_point():
        return C @ X
    return X.gather(-2, C.expand(X.shape[:-1])[..., None].expand(X.shape))


def _point_back(C: Tensor, X: Tensor) -> Tensor:
    """CᵀX: each token collects the rows of those that point at it."""
    require_labels(C, X.shape[-2], X.shape[-2])
    if C.is_floating_point():
        return C.mT @ X
    return torch.zeros_like(X).scatter_add(-2, C.expand(X.shape[:-1])[..., None].expand(X.shape), X)
