"""Chapter 5, where the flow goes."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import lambertw
from sympy import LambertW, exp, simplify, symbols
from torch.func import grad, hessian

from claims.formulas import soft
from claims.symbols import LINEAR, C, Z, a, c, j, linear_loss, p, q, sigma, theta, y
from claims.witnesses import claim, proves
from imr import flow, potentials
from imr.symbolic import d, derivative, k, same, total, unfold
from strategies import close


@proves("prop-fixed-points")
def test_prop_fixed_points_proof():
    """The gradient is the difference of the two moments.

    Along u the velocity of a hard label is its mean margin, which is positive where
    θ_c is a vertex, and so never zero.
    """
    moment = lambda weights: total(weights[p, j] * theta[j, q], (j, k))
    claim = moment(sigma) - moment(C)
    assert same(derivative(linear_loss(), Z[p, q]), unfold(claim, LINEAR))
    mean = lambda f: total(sigma[p, j] * f(j), (j, k))
    push = total(y[a] * (theta[c, a] - mean(lambda j: theta[j, a])), (a, d))
    margins = mean(lambda j: total(y[a] * (theta[c, a] - theta[j, a]), (a, d)))
    assert same(unfold(push, LINEAR), unfold(margins, LINEAR))


@claim(
    "prop-fixed-points",
    right=lambda s, C, theta: s @ theta - C @ theta,
    wrong={
        "matching probabilities": lambda s, C, theta: s - C,
        "moments of the labels alone": lambda s, C, theta: C @ theta,
        "plus": lambda s, C, theta: s @ theta + C @ theta,
    },
)
def test_prop_fixed_points_check(p, formula):
    theta = p.draw(p.d + 3, p.d, salt=20)  # too many to be affinely independent
    C = soft(p.B @ theta.T)  # so B is a fixed point
    affine = torch.cat([theta, torch.ones(len(theta), 1).double()], dim=1)
    null = torch.linalg.svd(affine.T)[2][-1]  # changes probabilities, not moments
    same_moments = C + 0.5 * C.amin() / null.abs().max() * null
    small = lambda values: bool(values.abs().max() < 1e-9)
    stationary = lambda Z, C: small(
        grad(lambda Z: potentials.linear(Z, theta, C))(Z)
    )
    zero = lambda Z, C: small(formula(soft(Z @ theta.T), C, theta))
    cases = ((p.B, C), (p.B, same_moments), (p.B + 1, C))
    # A hard label at a vertex: along a ray the loss tends to 0 and is never there.
    ray, vertex = p.B[:1], (p.B[:1] @ theta.T).argmax(-1)
    near, far, farther = (
        potentials.linear(t * ray, theta, vertex) for t in (1.0, 10.0, 100.0)
    )
    agree = all(stationary(*case) == zero(*case) for case in cases)
    return agree and bool(near > far >= farther)


def _minimiser(theta, C):
    """The minimiser of the linear loss in Z, by damped Newton steps."""
    loss = lambda Z: potentials.linear(Z, theta, C)
    Z = torch.zeros(len(C), theta.shape[1]).double()
    for _ in range(60):
        slope, curvature = grad(loss)(Z), hessian(loss)(Z).reshape(Z.numel(), -1)
        step = torch.linalg.lstsq(curvature, slope.reshape(-1, 1)).solution
        step = step.reshape(Z.shape)
        better = min((Z - t * step for t in (1.0, 0.5, 0.1)), key=loss)
        if loss(better) >= loss(Z):
            break
        Z = better
    return Z


def _solved(theta, rows):
    """z for each row with (θ_j − θ_0)·z = row_j − row_0, by least squares."""
    gaps, heights = theta[1:] - theta[0], rows[:, 1:] - rows[:, :1]
    return torch.linalg.lstsq(gaps, heights.T).solution.T


@claim(
    "prop-smoothing",
    right=lambda theta, C: _solved(theta, C.log()),
    wrong={
        "the normaliser forgotten": lambda theta, C: (
            torch.linalg.lstsq(theta, C.log().T).solution.T
        ),
        "probabilities for logarithms": lambda theta, C: _solved(theta, C),
    },
)
def test_prop_smoothing_check(p, formula):
    theta = p.draw(p.d + 1, p.d, salt=21)  # affinely independent
    C = p.draw(p.n, p.d + 1, salt=22).softmax(-1)
    if not p.close(soft(formula(theta, C) @ theta.T), C, 1e-6):
        return False
    # With one prototype too many the minimiser matches moments, not labels.
    crowded = p.draw(p.d + 2, p.d, salt=23)
    target = p.draw(1, p.d + 2, salt=24).softmax(-1)
    s = soft(_minimiser(crowded, target) @ crowded.T)
    moments = p.close(s @ crowded, target @ crowded, 1e-7)
    return moments and not close(s, target, 1e-7)


@proves("prop-two-classes")
def test_prop_two_classes_proof():
    t, rate, start = symbols("t c m0", positive=True)
    path = rate * t + start + exp(start)
    margin = path - LambertW(exp(path))
    # W = W(e^s) means W e^W = e^s, so e^m = e^s e^{−W} = W.
    inverse = symbols("W", positive=True)
    assert simplify(inverse * exp(inverse) * exp(-inverse) - inverse) == 0
    slope = margin.diff(t).subs(LambertW(exp(path)), inverse)
    assert simplify(slope - rate / (1 + inverse)) == 0
    # At t = 0 it is e^{m0}, which has W e^W = e^s there: m(0) = s − e^{m0} = m0.
    initial = exp(start)
    assert simplify(initial * exp(initial) - exp(path.subs(t, 0))) == 0


def lambert(s):
    """W(e^s) for a tensor s."""
    return torch.from_numpy(np.asarray(lambertw(np.exp(s.numpy())).real))


@claim(
    "prop-two-classes",
    right=lambda c, t, m0: (s := c * t + m0 + torch.exp(m0)) - lambert(s),
    wrong={
        "the start forgotten": lambda c, t, m0: (s := c * t) - lambert(s),
        "large times only": lambda c, t, m0: torch.log(c * t),
        "plus": lambda c, t, m0: (s := c * t + m0 + torch.exp(m0)) + lambert(s),
    },
    examples=10,
)
def test_prop_two_classes_check(p, formula):
    theta = p.draw(2, p.d, salt=25) / p.d**0.5
    z, time = 0.5 * p.B[:1], torch.tensor(2.0).double()
    gap = theta[0] - theta[1]
    field = flow.linear_field(theta, torch.tensor([0]))
    end = flow.trajectory(flow.rk4(field, 2.0 / 200), z, 200)[-1]
    solution = formula((gap**2).sum(), time, (z @ gap)[0])
    return p.close((end @ gap)[0], solution, 1e-7)


@proves("prop-etf")
def test_prop_etf_proof():
    """At z = Rθ_c the velocity is k/(k−1)(1 − σ_c)θ_c, radial and outwards.

    That is the condition of Karush, Kuhn and Tucker.
    """
    R, classes = symbols("R k", positive=True)
    # θ_c·θ_j of the simplex √(k/(k−1)) (I − 11ᵀ/k): unit vectors, of sum zero.
    product = lambda one: classes / (classes - 1) * (one - 1 / classes)
    assert simplify(product(1) - 1) == 0
    assert simplify(product(1) + (classes - 1) * product(0)) == 0
    weight, others = exp(R * product(1)), exp(R * product(0))
    whole = weight + (classes - 1) * others
    # θ_c − σ_c θ_c − σ_other Σ_{j≠c} θ_j, with Σ_{j≠c} θ_j = −θ_c.
    velocity = 1 - weight / whole + others / whole
    claim = classes / (classes - 1) * (1 - weight / whole)
    assert simplify(velocity - claim) == 0
    assert simplify(velocity - (1 - weight / whole)) != 0
    sample = claim.subs({R: 2, classes: 5})
    assert sample.evalf() > 0


@claim(
    "prop-etf",
    right=lambda R, theta, y: R * theta[y],
    wrong={
        "away from the prototype": lambda R, theta, y: -R * theta[y],
        "another class": lambda R, theta, y: R * theta[(y + 1) % len(theta)],
        "inside the ball": lambda R, theta, y: 0.5 * R * theta[y],
    },
)
def test_prop_etf_check(p, formula):
    k, R = p.k + 1, 0.5 + p.scale
    theta = (torch.eye(k).double() - 1 / k) * (k / (k - 1)) ** 0.5  # unit simplex
    y = torch.arange(p.n) % k
    best = formula(R, theta, y)
    force = flow.linear_field(theta, y)(best)
    radial = (force * best).sum(-1, keepdim=True) / R**2 * best
    rivals = F.normalize(p.draw(20, p.n, k, salt=26), dim=-1) * R
    loss = lambda Z: potentials.linear(Z, theta, y)
    least = loss(best) <= loss(rivals).min() + 1e-9
    outwards = ((force * best).sum(-1) >= 0).all()
    on_sphere = p.close(best.norm(dim=-1), R * torch.ones(p.n).double())
    unit = p.close(force, radial, floor=theta)  # a difference of prototypes
    return on_sphere and unit and bool(outwards and least)
