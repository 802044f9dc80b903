"""The numeric witnesses and the negative controls: one check for each claim, against autograd, in float64.

A check takes a random problem and a formula. The right formula must pass it for every problem (numeric); each plausible
wrong one must fail it for some (control). The ledger shows each of these functions as it stands here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from scipy.special import lambertw
from strategies import Problem, close, problems
from torch import Tensor
from torch.func import grad, hessian, jacrev, jvp, vjp

from imr import attention, flow, potentials

Formula = Callable[..., Tensor]


@dataclass(frozen=True)
class Claim:
    check: Callable[[Problem, Formula], bool]
    right: Formula
    wrong: dict[str, Formula]
    examples: int


CLAIMS: dict[str, Claim] = {}
SAMPLE = [Problem(seed=seed, scale=scale) for seed in range(4) for scale in (0.3, 1.0)]


def claim(name: str, right: Formula, wrong: dict[str, Formula], examples: int = 40):
    """Register a check as witness and control of a claim."""

    def register(check):
        CLAIMS[name] = Claim(check, right, wrong, examples)
        return check

    return register


def witnesses(kind: str):
    return [pytest.param(name, marks=pytest.mark.witness(name, kind), id=name) for name in CLAIMS]


def lse(Z, theta):
    return (Z @ theta.mT).logsumexp(-1)


def sigma(N):
    return N.softmax(-1)


def mha(Wq, Wk, Wv, Wo, heads=1):
    """torch.nn.MultiheadAttention with the given weights, as a function of query and memory (n, d), (m, d)."""
    layer = torch.nn.MultiheadAttention(len(Wo), heads, bias=False, batch_first=True, dtype=Wo.dtype).eval()
    layer.in_proj_weight.data, layer.out_proj.weight.data = torch.cat([Wq, Wk, Wv]), Wo
    return lambda X, memory: layer(X[None], memory[None], memory[None], need_weights=False)[0][0].detach()


def lambert(s):
    """W(e^s) for a tensor s."""
    return torch.from_numpy(np.asarray(lambertw(np.exp(s.numpy())).real))


def asymmetry(field, Z):
    """Largest entry of J − Jᵀ for the Jacobian of a field, relative to J's largest; zero for a gradient."""
    J = jacrev(field)(Z).reshape(Z.numel(), Z.numel())
    return ((J - J.T).abs().max() / J.abs().max().clamp_min(1e-300)).item()


def substeps(field, h):
    """The exact sub-flow, as far as float64 sees: four Runge–Kutta steps."""
    return lambda Z: flow.trajectory(flow.rk4(field, h / 4), Z, 4)[-1]


def exact(field):
    return lambda h: substeps(field, h)


# --------------------------------------------------------------------------------------------- the linear model


@claim(
    "lse-slope",
    right=lambda N: sigma(N),
    wrong={
        "p(1 - p)": lambda N: sigma(N) * (1 - sigma(N)),
        "softmax over tokens": lambda N: N.softmax(-2),
        "minus": lambda N: -sigma(N),
    },
)
def check_lse_slope(p, formula):
    N = p.Z @ p.theta.T
    slope = jacrev(lambda N: N.logsumexp(-1))(N)  # (n, n, k)
    return close(torch.einsum("ip,iq->ipq", torch.eye(p.n).double(), formula(N)), slope)


@claim(
    "softmax-jacobian",
    right=lambda s: torch.diag(s) - s[:, None] * s,
    wrong={
        "the diagonal alone": lambda s: torch.diag(s * (1 - s)),
        "plus": lambda s: torch.diag(s) + s[:, None] * s,
        "p(1 - p) everywhere": lambda s: s[:, None] * (1 - s),
    },
)
def check_softmax_jacobian(p, formula):
    N = p.Z[0] @ p.theta.T
    return close(formula(sigma(N)), jacrev(sigma)(N))


@claim(
    "theorem-1",
    right=attention.cross_attention,
    wrong={
        "factor 2": lambda Z, theta: 2 * sigma(Z @ theta.T) @ theta,
        "p(1 - p)": lambda Z, theta: (sigma(Z @ theta.T) * (1 - sigma(Z @ theta.T))) @ theta,
        "softmax over tokens": lambda Z, theta: (Z @ theta.T).softmax(-2) @ theta,
        "mean over tokens": lambda Z, theta: sigma(Z @ theta.T) @ theta / len(Z),
    },
)
def check_theorem_1(p, formula):
    slope = jacrev(lambda Z: lse(Z, p.theta))(p.Z)  # (n, n, d)
    return close(torch.einsum("ip,iq->ipq", torch.eye(p.n).double(), formula(p.Z, p.theta)), slope)


@claim(
    "weighted-tokens",
    right=lambda p: p.w[:, None] * attention.cross_attention(p.Z, p.theta),
    wrong={
        "weights forgotten": lambda p: attention.cross_attention(p.Z, p.theta),
        "weights inside the softmax": lambda p: attention.cross_attention(p.w[:, None] * p.Z, p.theta),
        "mean weight": lambda p: p.w.mean() * attention.cross_attention(p.Z, p.theta),
    },
)
def check_weighted_tokens(p, formula):
    return close(formula(p), grad(lambda Z: (p.w * lse(Z, p.theta)).sum())(p.Z))


@claim(
    "linear-flow",
    right=lambda p: flow.linear_field(p.theta, p.C)(p.Z),
    wrong={
        "plus attention": lambda p: p.C @ p.theta + attention.cross_attention(p.Z, p.theta),
        "no label": lambda p: -attention.cross_attention(p.Z, p.theta),
        "ascent": lambda p: -flow.linear_field(p.theta, p.C)(p.Z),
        "mean over tokens": lambda p: flow.linear_field(p.theta, p.C)(p.Z) / p.n,
    },
)
def check_linear_flow(p, formula):
    return close(formula(p), -grad(lambda Z: potentials.linear(Z, p.theta, p.C))(p.Z))


def _sdpa(Q, K, V, **options):
    return F.scaled_dot_product_attention(Q[None], K[None], V[None], **options)[0]


@claim(
    "cross-attention-sdpa",
    right=lambda Z, theta, I, d: (
        _sdpa(Z, theta, theta, scale=1.0),
        mha(d**0.5 * I, I, I, I)(Z, theta),
    ),
    wrong={
        "torch's default scale": lambda Z, theta, I, d: (_sdpa(Z, theta, theta),),
        "a layer without the root of d": lambda Z, theta, I, d: (mha(I, I, I, I)(Z, theta),),
        "keys scaled too": lambda Z, theta, I, d: (mha(d**0.5 * I, d**0.5 * I, I, I)(Z, theta),),
    },
)
def check_cross_attention_sdpa(p, formula):
    ours = attention.cross_attention(p.Z, p.theta)
    return all(close(theirs, ours) for theirs in formula(p.Z, p.theta, torch.eye(p.d).double(), p.d))


@claim(
    "dissipation",
    right=lambda gradient: -(gradient**2).sum(),
    wrong={
        "norm, not squared": lambda gradient: -gradient.norm(),
        "half": lambda gradient: -(gradient**2).sum() / 2,
        "growth": lambda gradient: (gradient**2).sum(),
    },
)
def check_dissipation(p, formula):
    loss = lambda Z: potentials.linear(Z, p.theta, p.C)
    _, rate = jvp(loss, (p.Z,), (flow.linear_field(p.theta, p.C)(p.Z),))
    return close(formula(grad(loss)(p.Z)), rate)


@claim(
    "symmetries",
    right=lambda theta, C: flow.linear_field(theta, C),
    wrong={
        "attention alone sees the shift": lambda theta, C: lambda Z: -attention.cross_attention(Z, theta),
        "softmax over tokens": lambda theta, C: lambda Z: C @ theta - (Z @ theta.T).softmax(-2) @ theta,
        "unnormalised weights": lambda theta, C: lambda Z: C @ theta - (Z @ theta.T).exp() @ theta,
    },
)
def check_symmetries(p, formula):
    order = p.w.argsort()
    here = formula(p.theta, p.C)(p.Z)
    read = p.C @ p.theta - here
    height, width = read @ p.W, p.theta @ p.W  # heights over d directions: those of the hull bound those of the read
    hull = (height <= width.amax(0) + 1e-9).all() and (height >= width.amin(0) - 1e-9).all()
    permuted = close(formula(p.theta, p.C[order])(p.Z[order]), here[order])
    return bool(hull) and permuted and close(formula(p.theta + p.B[0], p.C)(p.Z), here, 1e-9)


@claim(
    "hessian-covariance",
    right=lambda s, theta, scores: (s * scores) @ theta - (s * scores).sum(-1, keepdim=True) * (s @ theta),
    wrong={
        "second moment, not covariance": lambda s, theta, scores: (s * scores) @ theta,
        "minus": lambda s, theta, scores: (s * scores).sum(-1, keepdim=True) * (s @ theta) - (s * scores) @ theta,
        "p(1 - p)": lambda s, theta, scores: (s * (1 - s) * scores) @ theta,
    },
)
def check_hessian_covariance(p, formula):
    jacobian = jacrev(lambda Z: attention.cross_attention(Z, p.theta))(p.Z)  # (n, d, n, d)
    slope = torch.einsum("iajb,jb->ia", jacobian, p.B)
    return close(formula(sigma(p.Z @ p.theta.T), p.theta, p.B @ p.theta.T), slope)


@claim(
    "convexity",
    right=lambda p: lambda Z: potentials.linear(Z, p.theta, p.C),
    wrong={
        "the quadratic model": lambda p: lambda Z: potentials.quadratic(Z, p.phi @ p.phi.T, torch.arange(p.n)),
        "minus the loss": lambda p: lambda Z: -potentials.linear(Z, p.theta, p.C),
    },
)
def check_convexity(p, formula):
    f, t = formula(p), 0.3
    below = lambda Z, Y, t: f(t * Z + (1 - t) * Y) <= t * f(Z) + (1 - t) * f(Y) + 1e-10
    return bool(below(p.Z, p.B, t) and below(p.Z, -p.Z, 0.5))


def _pair(p):
    """Two opposite prototypes and soft labels: at z = 0 the bounds are attained."""
    v = p.B[:1] / p.B[:1].norm()
    return torch.cat([v, -v]), torch.full((1, 2), 0.5).double(), 1e-3 * v


@claim(
    "lipschitz",
    right=flow.lipschitz_bound,
    wrong={
        "half": lambda theta: flow.lipschitz_bound(theta) / 2,
        "the diameter, not squared": lambda theta: torch.cdist(theta, theta).max() / 4,
        "twice": lambda theta: 2 * flow.lipschitz_bound(theta),
    },
)
def check_lipschitz(p, formula):
    def holds(theta, C, Z, Y):
        speed = flow.linear_field(theta, C)
        return (speed(Z) - speed(Y)).norm() <= formula(theta) * (Z - Y).norm() * (1 + 1e-5) + 1e-12

    theta, C, z = _pair(p)
    sharper = all(formula(t) <= torch.linalg.matrix_norm(t, 2) ** 2 / 2 + 1e-9 for t in (theta, p.theta))
    return bool(sharper and holds(p.theta, p.C, p.Z, p.B) and holds(theta, C, z, 0 * z))


@claim(
    "descent",
    right=lambda theta, scale: 2 / flow.lipschitz_bound(theta, scale),
    wrong={
        "twice as far": lambda theta, scale: 4 / flow.lipschitz_bound(theta, scale),
        "half as far is not sharp": lambda theta, scale: 1 / flow.lipschitz_bound(theta, scale),
        "the scale forgotten": lambda theta, scale: 2 / flow.lipschitz_bound(theta),
    },
)
def check_descent(p, formula):
    theta, C, z = _pair(p)
    for scale in (0.5, 1.0, 4.0):
        loss = lambda Z, theta=p.theta, C=p.C, scale=scale: potentials.linear(Z, theta, C, scale)
        if p.k > 1:
            h = 0.9 * formula(p.theta, scale)
            velocity = flow.linear_field(p.theta, p.C, scale)(p.Z)
            if loss(p.Z + h * velocity) > loss(p.Z) - 0.1 * h * (velocity**2).sum() + 1e-10:
                return False
        moved = lambda h, scale=scale: flow.euler(flow.linear_field(theta, C, scale), h)(z)
        inside, outside = moved(0.99 * formula(theta, scale)), moved(1.01 * formula(theta, scale))
        if not loss(inside, theta, C, scale) < loss(z, theta, C, scale) < loss(outside, theta, C, scale):
            return False
    return True


@claim(
    "moment-matching",
    right=lambda s, C, theta: s @ theta - C @ theta,
    wrong={
        "matching probabilities": lambda s, C, theta: s - C,
        "moments of the labels alone": lambda s, C, theta: C @ theta,
        "plus": lambda s, C, theta: s @ theta + C @ theta,
    },
)
def check_moment_matching(p, formula):
    theta = p.draw(p.d + 3, p.d, salt=20)  # more prototypes than affinely independent ones
    C = sigma(p.B @ theta.T)  # so B is a fixed point
    affine = torch.cat([theta, torch.ones(len(theta), 1).double()], dim=1)
    null = torch.linalg.svd(affine.T)[2][-1]  # changes probabilities, not moments
    same_moments = C + 0.5 * C.amin() / null.abs().max() * null
    stationary = lambda Z, C: bool(grad(lambda Z: potentials.linear(Z, theta, C))(Z).abs().max() < 1e-9)
    zero = lambda Z, C: bool(formula(sigma(Z @ theta.T), C, theta).abs().max() < 1e-9)
    cases = ((p.B, C), (p.B, same_moments), (p.B + 1, C))
    ray, vertex = p.B[:1], (p.B[:1] @ theta.T).argmax(-1)  # a hard label at a vertex: the loss tends to 0, never there
    far = [potentials.linear(t * ray, theta, vertex) for t in (1.0, 10.0, 100.0)]
    return all(stationary(*case) == zero(*case) for case in cases) and bool(far[0] > far[1] >= far[2])


def _minimiser(theta, C):
    """The minimiser of the linear loss in Z, by damped Newton steps."""
    loss, Z = (lambda Z: potentials.linear(Z, theta, C)), torch.zeros(len(C), theta.shape[1]).double()
    for _ in range(60):
        step = torch.linalg.lstsq(hessian(loss)(Z).reshape(Z.numel(), -1), grad(loss)(Z).reshape(-1, 1)).solution
        Z = min((Z - t * step.reshape(Z.shape) for t in (1.0, 0.5, 0.1, 0.0)), key=loss)
    return Z


@claim(
    "label-smoothing",
    right=lambda theta, C: torch.linalg.lstsq(theta[1:] - theta[0], (C.log()[:, 1:] - C.log()[:, :1]).T).solution.T,
    wrong={
        "the normaliser forgotten": lambda theta, C: torch.linalg.lstsq(theta, C.log().T).solution.T,
        "probabilities for logarithms": lambda theta, C: (
            torch.linalg.lstsq(theta[1:] - theta[0], (C[:, 1:] - C[:, :1]).T).solution.T
        ),
    },
)
def check_label_smoothing(p, formula):
    theta, C = p.draw(p.d + 1, p.d, salt=21), p.draw(p.n, p.d + 1, salt=22).softmax(-1)  # affinely independent
    Z = formula(theta, C)
    reached = close(sigma(Z @ theta.T), C, 1e-6)
    crowded = p.draw(p.d + 2, p.d, salt=23)  # one prototype too many: the minimiser matches moments, not labels
    target = p.draw(1, p.d + 2, salt=24).softmax(-1)
    s = sigma(_minimiser(crowded, target) @ crowded.T)
    return reached and close(s @ crowded, target @ crowded, 1e-7) and not close(s, target, 1e-7)


@claim(
    "two-classes",
    right=lambda c, t, m0: (s := c * t + m0 + torch.exp(m0)) - lambert(s),
    wrong={
        "the start forgotten": lambda c, t, m0: (s := c * t) - lambert(s),
        "large times only": lambda c, t, m0: torch.log(c * t),
        "plus": lambda c, t, m0: (s := c * t + m0 + torch.exp(m0)) + lambert(s),
    },
    examples=10,
)
def check_two_classes(p, formula):
    theta = p.draw(2, p.d, salt=25) / p.d**0.5
    z, time = 0.5 * p.B[:1], torch.tensor(2.0).double()
    gap = theta[0] - theta[1]
    field = flow.linear_field(theta, torch.tensor([0]))
    end = flow.trajectory(flow.rk4(field, 2.0 / 200), z, 200)[-1]
    return close((end @ gap)[0], formula((gap**2).sum(), time, (z @ gap)[0]), 1e-7)


@claim(
    "etf-optimum",
    right=lambda R, theta, y: R * theta[y],
    wrong={
        "away from the prototype": lambda R, theta, y: -R * theta[y],
        "another class": lambda R, theta, y: R * theta[(y + 1) % len(theta)],
        "inside the ball": lambda R, theta, y: 0.5 * R * theta[y],
    },
)
def check_etf_optimum(p, formula):
    k, R = p.k + 1, 0.5 + p.scale
    theta = (torch.eye(k).double() - 1 / k) * (k / (k - 1)) ** 0.5  # unit simplex
    y = torch.arange(p.n) % k
    best = formula(R, theta, y)
    force = flow.linear_field(theta, y)(best)
    radial = (force * best).sum(-1, keepdim=True) / R**2 * best
    rivals = F.normalize(p.draw(20, p.n, k, salt=26), dim=-1) * R
    least = potentials.linear(best, theta, y) <= potentials.linear(rivals, theta, y).min() + 1e-9
    on_sphere = close(best.norm(dim=-1), R * torch.ones(p.n).double())
    return on_sphere and close(force, radial) and bool(((force * best).sum(-1) >= 0).all()) and bool(least)


# ------------------------------------------------------------------------------------------ the quadratic model


@claim(
    "quadratic-adjoint",
    right=lambda G, Z, theta: G @ Z @ theta.T + G.T @ Z @ theta,
    wrong={
        "transpose forgotten": lambda G, Z, theta: G @ Z @ theta + G.T @ Z @ theta,
        "one term": lambda G, Z, theta: G @ Z @ theta.T,
        "twice one term": lambda G, Z, theta: 2 * G @ Z @ theta.T,
    },
)
def check_quadratic_adjoint(p, formula):
    _, pull_back = vjp(lambda Z: potentials.quadratic_logits(Z, p.form), p.Z)
    return close(formula(p.D, p.Z, p.form), pull_back(p.D)[0])


def _reads(s, Z, theta):
    """The two terms of the quadratic theorem as tensors (n, n, d)."""
    eye = torch.eye(len(Z)).double()
    return torch.einsum("ip,iq->ipq", eye, s @ Z @ theta.T), torch.einsum("ip,iq->ipq", s, Z @ theta)


@claim(
    "quadratic-lse",
    right=lambda s, Z, theta: sum(_reads(s, Z, theta)),
    wrong={
        "token as query only": lambda s, Z, theta: _reads(s, Z, theta)[0],
        "token as key only": lambda s, Z, theta: _reads(s, Z, theta)[1],
        "theta as if symmetric": lambda s, Z, theta: sum(_reads(s, Z, theta.T)),
        "twice the first": lambda s, Z, theta: 2 * _reads(s, Z, theta)[0],
    },
)
def check_quadratic_lse(p, formula):
    N = lambda Z: potentials.quadratic_logits(Z, p.form)
    slope, ours = jacrev(lambda Z: N(Z).logsumexp(-1))(p.Z), formula(sigma(N(p.Z)), p.Z, p.form)
    return close(ours, slope) and close(attention.quadratic_attention(p.Z, p.form), slope.sum(0))


@claim(
    "quadratic-flow",
    right=lambda p, C: flow.quadratic_field(p.form, C)(p.Z),
    wrong={
        "transpose term forgotten": lambda p, C: (C - sigma(p.Z @ p.form @ p.Z.T)) @ p.Z @ p.form.T,
        "theta as if symmetric": lambda p, C: flow.quadratic_field((p.form + p.form.T) / 2, C)(p.Z),
        "factor 2": lambda p, C: 2 * flow.quadratic_field(p.form, C)(p.Z),
        "ascent": lambda p, C: -flow.quadratic_field(p.form, C)(p.Z),
    },
)
def check_quadratic_flow(p, formula):
    loss = lambda Z: potentials.quadratic(Z, p.form, p.D)
    return close(formula(p, p.D), -grad(loss)(p.Z))


@claim(
    "self-attention-flow",
    right=lambda p: (
        (p.D + p.D.T) @ p.Z @ p.phi @ p.phi.T - attention.self_attention(p.Z, p.phi) - attention.companion(p.Z, p.phi)
    ),
    wrong={
        "companion forgotten": lambda p: (p.D + p.D.T) @ p.Z @ p.phi @ p.phi.T - attention.self_attention(p.Z, p.phi),
        "twice self-attention": lambda p: (p.D + p.D.T) @ p.Z @ p.phi @ p.phi.T - 2 * attention.self_attention(p.Z, p.phi),
        "labels not symmetrised": lambda p: (
            2 * p.D @ p.Z @ p.phi @ p.phi.T - attention.self_attention(p.Z, p.phi) - attention.companion(p.Z, p.phi)
        ),
    },
)
def check_self_attention_flow(p, formula):
    return close(formula(p), -grad(lambda Z: potentials.quadratic(Z, p.phi @ p.phi.T, p.D))(p.Z))


@claim(
    "self-attention-sdpa",
    right=lambda p, Phi, d: (
        _sdpa(p.Z @ Phi, p.Z @ Phi, p.Z @ Phi @ Phi.T, scale=1.0),
        mha(d**0.5 * Phi.T, Phi.T, Phi.T, Phi)(p.Z, p.Z),
    ),
    wrong={
        "torch's default scale": lambda p, Phi, d: (_sdpa(p.Z @ Phi, p.Z @ Phi, p.Z @ Phi @ Phi.T),),
        "values without the output map": lambda p, Phi, d: (_sdpa(p.Z @ Phi, p.Z @ Phi, p.Z @ Phi, scale=1.0),),
        "output map not transposed": lambda p, Phi, d: (mha(d**0.5 * Phi.T, Phi.T, Phi.T, Phi.T)(p.Z, p.Z),),
    },
)
def check_self_attention_sdpa(p, formula):
    Phi = p.W / p.d**0.5
    s = sigma(p.Z @ Phi @ Phi.T @ p.Z.T)
    ours = attention.self_attention(p.Z, Phi)
    return close(ours, s @ p.Z @ Phi @ Phi.T) and all(close(theirs, ours) for theirs in formula(p, Phi, p.d))


@claim(
    "companion-softmax",
    right=lambda N: N.softmax(-2),
    wrong={
        "softmax over keys": lambda N: N.softmax(-1),
        "the transpose of that": lambda N: N.softmax(-2).T,
        "both normalised": lambda N: N.softmax(-1).softmax(-2),
    },
)
def check_companion_softmax(p, formula):
    theta = p.phi @ p.phi.T
    N = p.Z @ theta @ p.Z.T
    return close(formula(N), sigma(N).T) and close(formula(N) @ p.Z @ theta, attention.companion(p.Z, p.phi))


@claim(
    "identity-labels",
    right=lambda Z, theta: 2 * Z @ theta,
    wrong={"once": lambda Z, theta: Z @ theta, "the features": lambda Z, theta: 2 * Z},
)
def check_identity_labels(p, formula):
    theta = p.phi @ p.phi.T
    by_number = flow.quadratic_field(theta, torch.arange(p.n))(p.Z) + attention.quadratic_attention(p.Z, theta)
    by_matrix = flow.quadratic_field(theta, torch.eye(p.n).double())(p.Z) + attention.quadratic_attention(p.Z, theta)
    return close(formula(p.Z, theta), by_number) and close(formula(p.Z, theta), by_matrix)


@claim(
    "stop-gradient",
    right=lambda p: flow.stop_gradient_field(p.phi, p.D)(p.Z),
    wrong={
        "the whole gradient": lambda p: flow.quadratic_field(p.phi @ p.phi.T, p.D)(p.Z),
        "the companion": lambda p: p.D @ p.Z @ p.phi @ p.phi.T - attention.companion(p.Z, p.phi),
        "plus": lambda p: p.D @ p.Z @ p.phi @ p.phi.T + attention.self_attention(p.Z, p.phi),
    },
)
def check_stop_gradient(p, formula):
    memory = p.Z @ p.phi @ p.phi.T  # fixed
    return close(formula(p), -grad(lambda Z: potentials.linear(Z, memory, p.D))(p.Z))


@claim(
    "not-a-gradient",
    right=lambda phi, C: flow.stop_gradient_field(phi, C),
    wrong={
        "the whole gradient": lambda phi, C: flow.quadratic_field(phi @ phi.T, C),
        "the label term alone": lambda phi, C: lambda Z: Z @ phi @ phi.T,
    },
    examples=10,
)
def check_not_a_gradient(p, formula):
    """No gradient: the Jacobian is asymmetric. And it can ascend: two tokens, one feature, z = (3, 9/4), C = I."""
    Z, phi = p.draw(3, 2, salt=27), p.draw(2, 2, salt=28)
    skew = asymmetry(formula(phi, torch.arange(3)), Z) > 1e-6
    Z, phi, C = torch.tensor([[3.0], [2.25]]).double(), torch.ones(1, 1).double(), torch.arange(2)
    rate = jvp(lambda Z: potentials.quadratic(Z, phi @ phi.T, C), (Z,), (formula(phi, C)(Z),))[1]
    return skew and bool(rate > 0.1)


def _transport(N, rounds=400):
    """The symmetric dual variable u (n, 1) of entropic transport: exp(N + u + uᵀ) is doubly stochastic."""
    u = torch.zeros(len(N), 1).double()
    for _ in range(rounds):
        u = (u - torch.logsumexp(N + u.T, 1, keepdim=True)) / 2
    return u


@claim(
    "sinkhorn",
    right=lambda C, plan, Z, theta: (C + C.T - 2 * plan) @ Z @ theta,
    wrong={
        "the plan once": lambda C, plan, Z, theta: (C + C.T - plan) @ Z @ theta,
        "softmax for the plan": lambda C, plan, Z, theta: (C + C.T - 2 * sigma(Z @ theta @ Z.T)) @ Z @ theta,
        "labels not symmetrised": lambda C, plan, Z, theta: 2 * (C - plan) @ Z @ theta,
    },
    examples=10,
)
def check_sinkhorn(p, formula):
    Z, theta = 0.5 * p.B, p.phi @ p.phi.T
    dual = lambda Z: -2 * _transport(Z @ theta @ Z.T).sum() - (p.D * (Z @ theta @ Z.T)).sum()
    u = _transport(Z @ theta @ Z.T)
    plan = (Z @ theta @ Z.T + u + u.T).exp()
    stochastic = close(plan.sum(0), torch.ones(p.n).double(), 1e-9)
    return stochastic and close(formula(p.D, plan, Z, theta), -grad(dual)(Z), 1e-7)


# -------------------------------------------------------------------------------------------------- splitting


def _parts(p):
    """The quadratic flow in two fields: attention (A) and labels (B)."""
    theta = p.phi @ p.phi.T
    return (
        lambda Z: -attention.quadratic_attention(Z, theta),
        lambda Z: flow.quadratic_field(theta, p.D)(Z) + attention.quadratic_attention(Z, theta),
    )


def _commutator(A, B, Z):
    """f_B' f_A − f_A' f_B."""
    return jvp(B, (Z,), (A(Z),))[1] - jvp(A, (Z,), (B(Z),))[1]


@claim(
    "lie-order",
    right=lambda bracket: bracket / 2,
    wrong={
        "the other sign": lambda bracket: -bracket / 2,
        "no half": lambda bracket: bracket,
        "no error": lambda bracket: 0 * bracket,
    },
)
def check_lie_order(p, formula):
    (A, B), Z, h = _parts(p), 0.3 * p.B, 1e-4
    error = flow.lie(exact(A), exact(B), h)(Z) - substeps(lambda Z: A(Z) + B(Z), h)(Z)
    bracket = _commutator(A, B, Z)
    return close(error / h**2, formula(bracket), 1e-2)


def _fixed(p):
    """A problem of fixed size, so that no commutator vanishes."""
    return Problem(n=4, d=3, k=5, r=3, seed=p.seed)


@claim(
    "strang-order",
    right=lambda inner, outer: inner / 12 + outer / 24,
    wrong={
        "coefficients exchanged": lambda inner, outer: inner / 24 + outer / 12,
        "the other sign": lambda inner, outer: inner / 12 - outer / 24,
        "the inner bracket alone": lambda inner, outer: inner / 12,
        "no error": lambda inner, outer: 0 * inner,
    },
    examples=15,
)
def check_strang_order(p, formula):
    """The local error over h³ against the brackets [A, [A, B]] and [B, [A, B]], made by forward differentiation."""
    (A, B), Z, h = _parts(p), 0.3 * p.B, 2e-3
    error = flow.strang(exact(B), exact(A), h)(Z) - substeps(lambda Z: A(Z) + B(Z), h)(Z)
    AB = lambda Z: _commutator(A, B, Z)
    return close(error / h**3, formula(_commutator(A, AB, Z), _commutator(B, AB, Z)), 2e-2)


@claim(
    "lie-commutator",
    right=lambda s, theta, scores: ((s * scores) @ theta - (s * scores).sum(-1, keepdim=True) * (s @ theta)) / 2,
    wrong={
        "the other sign": lambda s, theta, scores: (
            ((s * scores).sum(-1, keepdim=True) * (s @ theta) - (s * scores) @ theta) / 2
        ),
        "no half": lambda s, theta, scores: (s * scores) @ theta - (s * scores).sum(-1, keepdim=True) * (s @ theta),
        "second moment, not covariance": lambda s, theta, scores: (s * scores) @ theta / 2,
    },
)
def check_lie_commutator(p, formula):
    attend, pull, h = (lambda Z: -attention.cross_attention(Z, p.theta)), p.C @ p.theta, 1e-4
    error = flow.lie(exact(attend), flow.shift(pull), h)(p.Z) - substeps(flow.linear_field(p.theta, p.C), h)(p.Z)
    return close(error / h**2, formula(sigma(p.Z @ p.theta.T), p.theta, pull @ p.theta.T), 1e-2)


@claim(
    "lie-is-euler",
    right=lambda attend, pull, h: flow.lie(lambda h: flow.euler(attend, h), flow.shift(pull), h),
    wrong={
        "the label first": lambda attend, pull, h: flow.lie(flow.shift(pull), lambda h: flow.euler(attend, h), h),
        "an exact attention step": lambda attend, pull, h: flow.lie(exact(attend), flow.shift(pull), h),
        "Strang": lambda attend, pull, h: flow.strang(flow.shift(pull), lambda h: flow.euler(attend, h), h),
    },
)
def check_lie_is_euler(p, formula):
    attend, pull = (lambda Z: -attention.cross_attention(Z, p.theta)), p.C @ p.theta
    return close(formula(attend, pull, 0.3)(p.Z), flow.euler(flow.linear_field(p.theta, p.C), 0.3)(p.Z), 1e-13)


@claim(
    "strang-euler",
    right=lambda attend: lambda h: flow.euler(attend, h),
    wrong={
        "midpoint inside": lambda attend: lambda h: flow.midpoint(attend, h),
        "exact inside": lambda attend: exact(attend),
    },
    examples=15,
)
def check_strang_euler(p, formula):
    p = _fixed(p)
    (A, B), Z = _parts(p), p.Z
    end = lambda steps: flow.trajectory(flow.strang(exact(B), formula(A), 0.5 / steps), Z, steps)[-1]
    truth = flow.trajectory(flow.rk4(lambda Z: A(Z) + B(Z), 0.5 / 200), Z, 200)[-1]
    return bool(1.8 < (end(20) - truth).norm() / (end(40) - truth).norm() < 2.2)


@claim(
    "label-free",
    right=lambda p, U: flow.label_free_field(p.theta, U @ p.theta)(p.Z),
    wrong={
        "plus attention": lambda p, U: p.Z @ U @ p.theta + attention.cross_attention(p.Z, p.theta),
        "W transposed": lambda p, U: flow.label_free_field(p.theta, (U @ p.theta).T)(p.Z),
        "W forgotten": lambda p, U: -attention.cross_attention(p.Z, p.theta),
    },
)
def check_label_free(p, formula):
    U = p.draw(p.d, p.k, salt=29)
    layer = flow.linear_map(p.W)(0.1)(p.Z)
    exponential = close(layer, substeps(lambda Z: Z @ p.W, 0.1)(p.Z), 1e-5)
    return exponential and close(formula(p, U), flow.linear_field(p.theta, p.Z @ U)(p.Z))


@claim(
    "self-training",
    right=lambda p, beta: (sigma(beta * p.Z @ p.theta.T) - sigma(p.Z @ p.theta.T)) @ p.theta,
    wrong={
        "the other sign": lambda p, beta: (sigma(p.Z @ p.theta.T) - sigma(beta * p.Z @ p.theta.T)) @ p.theta,
        "a factor beta": lambda p, beta: (beta * sigma(beta * p.Z @ p.theta.T) - sigma(p.Z @ p.theta.T)) @ p.theta,
    },
)
def check_self_training(p, formula):
    potential = lambda Z, beta: (lse(Z, p.theta) - lse(beta * Z, p.theta) / beta).sum()
    still = close(formula(p, 1.0), torch.zeros_like(p.Z))
    return still and close(formula(p, 3.0), -grad(potential)(p.Z, 3.0))


# --------------------------------------------------------------------------------------- the rest of the block


@claim(
    "multi-head",
    right=lambda p: (
        sum((p.D + p.D.T) @ p.Z @ phi @ phi.T for phi in p.heads)
        - attention.self_attention(p.Z, p.heads)
        - attention.companion(p.Z, p.heads)
    ),
    wrong={
        "one softmax for the sum": lambda p: flow.quadratic_field(sum(phi @ phi.T for phi in p.heads), p.D)(p.Z),
        "companions forgotten": lambda p: (
            sum((p.D + p.D.T) @ p.Z @ phi @ phi.T for phi in p.heads) - attention.self_attention(p.Z, p.heads)
        ),
        "mean over heads": lambda p: sum(flow.quadratic_field(phi @ phi.T, p.D)(p.Z) for phi in p.heads) / 3,
    },
)
def check_multi_head(p, formula):
    return close(formula(p), -grad(lambda Z: potentials.multi_head(Z, p.heads, p.D))(p.Z))


@claim(
    "temperature",
    right=lambda p, scale: flow.linear_field(p.theta, p.C, scale)(p.Z),
    wrong={
        "a factor s": lambda p, scale: scale * flow.linear_field(p.theta, p.C, scale)(p.Z),
        "the scale forgotten": lambda p, scale: flow.linear_field(p.theta, p.C)(p.Z),
        "divided by s": lambda p, scale: flow.linear_field(p.theta, p.C, 1 / scale)(p.Z),
    },
)
def check_temperature(p, formula):
    scale = p.d**-0.5 / 2
    quadratic = -grad(lambda Z: potentials.quadratic(Z, p.form, p.D, scale))(p.Z)
    return close(formula(p, scale), -grad(lambda Z: potentials.linear(Z, p.theta, p.C, scale))(p.Z)) and close(
        flow.quadratic_field(p.form, p.D, scale)(p.Z), quadratic
    )


def _causal_labels(p):
    return p.D.log().masked_fill(potentials.future(p.n), -torch.inf).softmax(-1)


@claim(
    "causal",
    right=lambda phi, C: (
        flow.stop_gradient_field(phi, C, causal=True),
        lambda Z: C.T @ Z @ phi @ phi.T - attention.companion(Z, phi, causal=True),
    ),
    wrong={
        "mask forgotten": lambda phi, C: (
            flow.stop_gradient_field(phi, C),
            lambda Z: C.T @ Z @ phi @ phi.T - attention.companion(Z, phi),
        ),
        "anti-causal part dropped": lambda phi, C: (flow.stop_gradient_field(phi, C, causal=True), torch.zeros_like),
        "parts exchanged": lambda phi, C: (
            lambda Z: C.T @ Z @ phi @ phi.T - attention.companion(Z, phi, causal=True),
            flow.stop_gradient_field(phi, C, causal=True),
        ),
    },
)
def check_causal(p, formula):
    C, theta = _causal_labels(p), p.phi @ p.phi.T
    whole = -grad(lambda Z: potentials.quadratic(Z, theta, C, causal=True))(p.Z)
    causal, anti_causal = formula(p.phi, C)
    J = jacrev(causal)(p.Z)  # (n, d, n, d)
    sees_future = J.permute(0, 2, 1, 3)[potentials.future(p.n)].abs().sum()
    return close(causal(p.Z) + anti_causal(p.Z), whole) and bool(sees_future < 1e-12)


@claim(
    "norm-retraction",
    right=lambda z, v: v - (z * v).sum(-1, keepdim=True) / (z * z).sum(-1, keepdim=True) * z,
    wrong={
        "not divided by the norm": lambda z, v: v - (z * v).sum(-1, keepdim=True) * z,
        "no projection": lambda z, v: v,
        "the wrong side": lambda z, v: v + (z * v).sum(-1, keepdim=True) / (z * z).sum(-1, keepdim=True) * z,
    },
)
def check_norm_retraction(p, formula):
    Z, V, h = F.rms_norm(p.B, (p.d,), eps=0.0), p.draw(p.n, p.d, salt=30), 1e-5
    tangent = close((Z * formula(Z, V)).sum(-1), torch.zeros(p.n).double())
    step = F.rms_norm(Z + h * V, (p.d,), eps=0.0) - Z
    return tangent and close(step / h, formula(Z, V), 1e-3)


@claim(
    "mlp-potential",
    right=lambda Z, W, activation: attention.perceptron(Z, W, activation),
    wrong={
        "weights untied by a sign": lambda Z, W, activation: -attention.perceptron(Z, W, activation),
        "the potential's activation": lambda Z, W, activation: potentials.ANTIDERIVATIVES[activation](Z @ W.T) @ W,
        "tanh": lambda Z, W, activation: torch.tanh(Z @ W.T) @ W,
    },
)
def check_mlp_potential(p, formula):
    named = {"sigmoid": torch.sigmoid, "relu": F.relu, "gelu": F.gelu}
    return all(
        close(formula(p.Z, p.theta, name), grad(lambda Z, name=name: potentials.mlp(Z, p.theta, name))(p.Z))
        and close(formula(p.Z, p.theta, name), torchs(p.Z @ p.theta.T) @ p.theta)
        for name, torchs in named.items()
    )


@claim(
    "untied-mlp",
    right=lambda V, W: lambda Z: F.gelu(Z @ V.T) @ W,
    wrong={
        "tied": lambda V, W: lambda Z: attention.perceptron(Z, W),
        "tied up to a factor": lambda V, W: lambda Z: F.gelu(Z @ W.T) @ (3 * W),
    },
    examples=10,
)
def check_untied_mlp(p, formula):
    return asymmetry(formula(p.draw(4, 3, salt=31), p.draw(4, 3, salt=32)), p.draw(2, 3, salt=33)) > 1e-6


@claim(
    "untied-values",
    right=lambda gradient, M: -torch.trace(gradient @ M @ gradient.T),
    wrong={
        "M forgotten": lambda gradient, M: -(gradient**2).sum(),
        "the other sign": lambda gradient, M: torch.trace(gradient @ M @ gradient.T),
        "M on the other side": lambda gradient, M: -torch.trace(gradient @ M @ M.T @ gradient.T),
    },
)
def check_untied_values(p, formula):
    """Queries ZW_Q, keys θW_K, values θW_V with W_V = W_K W_Qᵀ M: the velocity is −∇L M."""
    query, key = p.draw(p.d, p.r, salt=34), p.draw(p.d, p.r, salt=35)
    M = p.W @ p.W.T + p.form - p.form.T  # its symmetric part is positive semi-definite
    loss = lambda Z: potentials.linear(Z @ query, p.theta @ key, p.C)
    s = sigma(p.Z @ query @ key.T @ p.theta.T)
    velocity = (p.C - s) @ p.theta @ key @ query.T @ M
    gradient, rate = grad(loss)(p.Z), jvp(loss, (p.Z,), (velocity,))[1]
    return close(formula(gradient, M), rate) and bool(formula(gradient, M) <= 1e-9)


# --------------------------------------------------------------------------------------------------- neighbours


@claim(
    "hopfield",
    right=lambda Z, X, tau: attention.cross_attention(Z, X, 1 / tau),
    wrong={
        "the sign of the regression flow": lambda Z, X, tau: -attention.cross_attention(Z, X, 1 / tau),
        "no temperature": lambda Z, X, tau: attention.cross_attention(Z, X),
        "half a step": lambda Z, X, tau: (Z + attention.cross_attention(Z, X, 1 / tau)) / 2,
    },
)
def check_hopfield(p, formula):
    tau = 0.3
    energy = lambda Z: (-tau * lse(Z / tau, p.theta)).sum() + (Z**2).sum() / 2
    update = formula(p.Z, p.theta, tau)
    return close(update, p.Z - grad(energy)(p.Z)) and bool(energy(update) <= energy(p.Z) + 1e-10)


@claim(
    "mean-shift",
    right=lambda Z, mu, weights, tau: sigma((Z @ mu.T - (mu**2).sum(-1) / 2) / tau + weights.log()) @ mu - Z,
    wrong={
        "norms of the centres forgotten": lambda Z, mu, weights, tau: sigma(Z @ mu.T / tau + weights.log()) @ mu - Z,
        "weights forgotten": lambda Z, mu, weights, tau: sigma((Z @ mu.T - (mu**2).sum(-1) / 2) / tau) @ mu - Z,
        "no pull back": lambda Z, mu, weights, tau: sigma((Z @ mu.T - (mu**2).sum(-1) / 2) / tau + weights.log()) @ mu,
    },
)
def check_mean_shift(p, formula):
    tau, weights = 0.7, p.C[0]
    square = lambda Z: ((Z[:, None] - p.theta) ** 2).sum(-1)  # (n, k)
    density = lambda Z: torch.logsumexp(weights.log() - square(Z) / (2 * tau), -1).sum()
    return close(formula(p.Z, p.theta, weights, tau), tau * grad(density)(p.Z))


@claim(
    "in-context",
    right=lambda X, Y, z, rate: rate * Y.T @ (X @ z),
    wrong={
        "softmax attention": lambda X, Y, z, rate: rate * Y.T @ (X @ z).softmax(0),
        "rate forgotten": lambda X, Y, z, rate: Y.T @ (X @ z),
        "mean over examples": lambda X, Y, z, rate: rate * Y.T @ (X @ z) / len(X),
    },
)
def check_in_context(p, formula):
    Y, z, rate = p.draw(p.n, p.r, salt=36), p.draw(p.d, salt=37), 0.1
    loss = lambda A: ((p.Z @ A.T - Y) ** 2).sum() / 2
    A = -rate * grad(loss)(torch.zeros(p.r, p.d).double())
    return close(formula(p.Z, Y, z, rate), A @ z)


@claim(
    "crate",
    right=lambda X, U: attention.self_attention(X.T, U).T,
    wrong={
        "the companion": lambda X, U: attention.companion(X.T, U).T,
        "one head": lambda X, U: attention.self_attention(X.T, U[0]).T,
        "one softmax for all heads": lambda X, U: attention.self_attention(X.T, torch.cat(list(U), dim=1)).T,
    },
)
def check_crate(p, formula):
    """CRATE writes tokens as the columns of X (d, n), and its softmax normalises columns."""
    X = p.Z.T
    crate = sum(U @ (U.T @ X) @ ((U.T @ X).T @ (U.T @ X)).softmax(0) for U in p.heads)
    return close(formula(X, p.heads), crate)


@pytest.mark.parametrize("name", witnesses("numeric"))
def test_holds(name):
    entry = CLAIMS[name]

    @settings(max_examples=entry.examples, deadline=None, derandomize=True)
    @given(problems)
    def for_every_problem(p):
        assert entry.check(p, entry.right)

    for_every_problem()


@pytest.mark.parametrize("name", witnesses("control"))
def test_rejects(name):
    entry = CLAIMS[name]
    assert entry.wrong
    for label, wrong in entry.wrong.items():
        assert not all(entry.check(p, wrong) for p in SAMPLE), f"the check of {name} accepts: {label}"
