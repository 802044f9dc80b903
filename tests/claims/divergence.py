"""The divergence by which a log-sum-exp lies above its tangents, and its sign."""

from sympy import log, symbols

from imr.symbolic import d, indices, k, same, softmax, tensors, total

(a,) = indices("a", d)
j, l = indices("j l", k)
x, y, root = tensors("x y root", k)
(sigma,) = tensors("sigma", k, positive=True)


def divergence(N, M):
    """KL(σ(N) ‖ σ(M)), the logits given as functions of the class."""
    p = softmax(N, j, l)
    return total(p * log(p / softmax(M, j, l)), j)


def square(entry):
    """|v|² of a vector given by its entries."""
    return total(entry(a) ** 2, a)


def require_divergence_is_never_negative():
    """KL(σ(x) ‖ σ(y)) = Σ σ_j(x) (t_j − 1 − log t_j) with t_j = σ_j(y)/σ_j(x) > 0.

    The function t − 1 − log t is 0 at t = 1, falls before and rises behind it. So
    each term is σ_j times a number that is not negative, which is a square.
    """
    p = softmax(lambda j: x[j], j, l)
    other = softmax(lambda j: y[j], j, l)
    ratio = other / p
    terms = total(p * (ratio - 1 - log(ratio)), j)
    assert same(divergence(lambda j: x[j], lambda j: y[j]), terms)
    t, beyond = symbols("t u", positive=True)
    term = t - 1 - log(t)
    assert term.subs(t, 1) == 0
    assert term.diff(t).subs(t, 1 + beyond).simplify().is_positive
    assert term.diff(t).subs(t, 1 / (1 + beyond)).simplify().is_negative
    assert total(sigma[j] * root[j] ** 2, j).is_nonnegative
