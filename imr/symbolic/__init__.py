"""The index calculus: sum identities for symbolic n, d and k, on SymPy. Knows no torch.

SymPy differentiates sums of indexed symbols, but leaves Kronecker deltas and nested sums as they fall. Here deltas are
contracted, and sums brought into one form, which *decides* many identities for every size at once.

From the ground up: ``functions`` (unknown ones), ``language`` (indices with a range, tensors with a shape) and ``factors``;
``normal`` (the form) and ``oracle`` (exact arithmetic, which is asked behind every result); ``calculus`` (derivatives) and
``proof`` (``same``); ``show`` (LaTeX).
"""

from imr.symbolic.calculus import contract, derivative, unfold
from imr.symbolic.functions import function
from imr.symbolic.language import Index, Tensor, d, indices, k, log_sum_exp, n, r, softmax, tensors, total
from imr.symbolic.oracle import UnsoundError
from imr.symbolic.proof import same
from imr.symbolic.show import Formula, latex

__all__ = [
    "Formula",
    "Index",
    "Tensor",
    "UnsoundError",
    "contract",
    "d",
    "derivative",
    "function",
    "indices",
    "k",
    "latex",
    "log_sum_exp",
    "n",
    "r",
    "same",
    "softmax",
    "tensors",
    "total",
    "unfold",
]
