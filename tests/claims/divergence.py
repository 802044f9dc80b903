"""The divergence of two softmaxes and the square of a vector, for chapter 9."""

from sympy import log

from imr.symbolic import d, indices, k, softmax, total

(a,) = indices("a", d)
j, l = indices("j l", k)


def divergence(N, M):
    """KL(σ(N) ‖ σ(M)), the logits given as functions of the class."""
    p = softmax(N, j, l)
    return total(p * log(p / softmax(M, j, l)), j)


def square(entry):
    """|v|² of a vector given by its entries."""
    return total(entry(a) ** 2, a)
