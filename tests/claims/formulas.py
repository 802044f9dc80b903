"""What several checks use."""

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


def sdpa(Q, K, V, **options):
    """torch's fused attention of one sequence."""
    return F.scaled_dot_product_attention(Q[None], K[None], V[None], **options)[0]
