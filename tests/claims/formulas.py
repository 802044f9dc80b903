"""What several checks use."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch.func import jacrev

from imr import flow


def lse(Z, theta):
    """LSE of each token (n,)."""
    return (Z @ theta.mT).logsumexp(-1)


def soft(N):
    """σ(N), the softmax of each row."""
    return N.softmax(-1)


def kl(N, M):
    """KL(σ(N) ‖ σ(M)) of each row of logits (n,)."""
    p, q = N.log_softmax(-1), M.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def mha(Wq, Wk, Wv, Wo, heads=1):
    """torch.nn.MultiheadAttention with these weights, of query and memory."""
    layer = torch.nn.MultiheadAttention(
        len(Wo), heads, bias=False, batch_first=True, dtype=Wo.dtype
    ).eval()
    layer.in_proj_weight.data = torch.cat([Wq, Wk, Wv])
    layer.out_proj.weight.data = Wo

    def attend(query, memory):  # (n, d), (m, d) -> (n, d)
        batch = [X[None] for X in (query, memory, memory)]
        return layer(*batch, need_weights=False)[0][0].detach()

    return attend


def asymmetry(field, Z):
    """Largest entry of J − Jᵀ for a field's Jacobian J, relative to J's largest.

    Zero for a gradient.
    """
    J = jacrev(field)(Z).reshape(Z.numel(), Z.numel())
    return ((J - J.T).abs().max() / J.abs().max().clamp_min(1e-300)).item()


def substeps(field, h):
    """One step of the exact sub-flow, as float64 sees it: four of Runge–Kutta."""
    return lambda Z: flow.trajectory(flow.rk4(field, h / 4), Z, 4)[-1]


def exact(field):
    """The exact sub-flow as a step of any size."""
    return lambda h: substeps(field, h)


def limit(values, rounding):
    """What a series in powers of h tends to, from its values at h, h/2, h/4, …

    Richardson's extrapolation, of which Ridders' rule takes the entry that differs
    least from the two that it comes from: where h is large the remainder counts,
    where it is small the rounding.

    Args:
        values: tensors of one shape.
        rounding: how far off each of them may be.

    Returns:
        The limit, how far off it may be, and its rounding. If the first of the two
        is large, against the limit and the rounding, there is no limit.
    """
    best, off, noise = values[0], torch.inf, 0.0
    for power in range(1, len(values)):
        pairs = list(pairwise(values))
        values = [fine + (fine - coarse) / (2**power - 1) for coarse, fine in pairs]
        for value, pair, least in zip(values, pairs, rounding[power:], strict=True):
            differences = ((value - one).abs().max().item() for one in pair)
            if (error := max(least, *differences)) < off:
                best, off, noise = value, error, least
    return best, off, noise


def _halvings(step, exact, h):
    """Sizes h, h/2, …, h/128, the errors of the step there, and their rounding."""
    sizes = [h / 2**level for level in range(8)]
    ends = [exact(size) for size in sizes]
    errors = [step(size) - end for size, end in zip(sizes, ends, strict=True)]
    return sizes, errors, [1e-15 * end.abs().max().item() for end in ends]


def has_leading_term(p, step, exact, order, coefficient, h, floor=0.0):
    """Whether step(h) − exact(h) = c hᵖ + O(hᵖ⁺¹) with this c, within 1e-3 of it.

    Refuses 1/25 for 1/24, the other sign, no error at all, 1.009 times the right
    one, another order. Where rounding hides c, as where it vanishes, ten times what
    ``limit`` may be off is allowed too.

    Args:
        p: the problem, which keeps the error for the record.
        step, exact: from a step size to where the scheme and the flow are then.
        order: the p of hᵖ; for one step it is one more than the scheme's.
        coefficient: what the claim says that c is.
        h: the largest of the step sizes, a float: a time in which the field
            changes much, such as 1/Λ.
        floor: as in ``p.close``, for a coefficient that may vanish.
    """
    sizes, errors, rounding = _halvings(step, exact, h)
    scaled = [e / size**order for e, size in zip(errors, sizes, strict=True)]
    hidden = [r / size**order for r, size in zip(rounding, sizes, strict=True)]
    found, off, noise = limit(scaled, hidden)
    converges = off <= max(1e-3 * found.abs().max().item(), 1e3 * noise)
    return converges and p.close(found, coefficient, 1e-3, max(1e4 * off, floor))


def has_order(step, exact, order, h):
    """Whether |step(h) − exact(h)| = C hᵖ (1 + O(h)) with this p, within 0.02.

    For an error whose C is not known, such as a global one, after T/h steps. An
    error that is zero, or hidden by rounding, has no order. Arguments as in
    ``has_leading_term``.
    """
    _, errors, rounding = _halvings(step, exact, h)
    norms = [error.norm() for error in errors]
    slopes = [(coarse / fine).log2() for coarse, fine in pairwise(norms)]
    hidden = [(r / one).item() for r, one in zip(rounding, norms, strict=True)]
    found, off, _ = limit(slopes, hidden[1:])
    return bool(abs(found - order) < 0.02 and off < 0.02)


def sdpa(Q, K, V, **options):
    """torch's fused attention of one sequence."""
    return F.scaled_dot_product_attention(Q[None], K[None], V[None], **options)[0]
