"""Logits of any size, and float16: the potentials against numbers of 400 digits, and against float64."""

import math

import mpmath
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from strategies import Problem, close, problems
from torch.func import grad, hessian, jacrev, vmap

from imr import attention, potentials

P = Problem(n=4, d=3, k=5, r=2)
HALF = torch.float16


def exact(N, C):
    """Σᵢⱼ C_ij log Σ_l exp(N_il − N_ij), of logits as they are and labels as a matrix."""
    with mpmath.workdps(400):  # one and e^−745 have 324 between them
        rows = [[mpmath.mpf(x) for x in row] for row in N.tolist()]
        return float(
            sum(
                c * mpmath.log(sum(mpmath.exp(x - row[j]) for x in row))
                for row, labels in zip(rows, C.tolist(), strict=True)
                for j, c in enumerate(labels)
                if c
            )
        )


def written_out(N, C):
    """The definition, whose derivatives are right where its value loses digits."""
    return (N.logsumexp(-1) - (C * N).sum(-1)).sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6, -1e6, 1e8, 1e16, 1e30])
@pytest.mark.parametrize("gap", [0.0, 0.5, 64.0, -64.0])
def test_logits_count_by_their_differences(offset, gap, dtype):
    N = torch.tensor([[gap, 0.0, -3.0]], dtype=dtype) + offset
    soft = torch.tensor([[0.25, 0.5, 0.25]], dtype=dtype)
    for labels, C in ((torch.tensor([0]), F.one_hot(torch.tensor([0]), 3)), (soft, soft)):
        loss = potentials.cross_entropy(N, labels)
        assert loss.dtype == dtype
        assert loss.item() == pytest.approx(exact(N, C), rel=4 * torch.finfo(dtype).eps, abs=0)


def test_two_equal_logits_cost_the_logarithm_of_two_and_half_a_nat_apart_what_they_should():
    equal = lambda size, dtype: potentials.cross_entropy(torch.full((1, 2), size, dtype=dtype), torch.tensor([1])).item()
    for size, dtype in ((1e8, torch.float32), (1e8, torch.float64), (1e16, torch.float64), (6e4, HALF)):
        assert equal(size, dtype) == pytest.approx(0.6931472, rel=1e-7 if dtype != HALF else 1e-3)
    assert potentials.cross_entropy(torch.tensor([[1e6 + 1.5, 1e6 + 1]]), torch.tensor([0])).item() == pytest.approx(
        0.4740770
    )


def test_a_prototype_far_from_the_others_costs_them_no_digits():
    Z, theta = torch.tensor([[1 / 3]], dtype=torch.float64), torch.tensor([[0.25], [0.5], [0.875], [-1e8]]).double()
    near = potentials.linear(Z, theta[:3], torch.tensor([0]))
    far = potentials.linear(Z, theta, torch.tensor([0]))
    assert far.item() == pytest.approx(near.item(), rel=1e-14, abs=0)


@settings(max_examples=60)
@given(problems)
def test_the_value_is_right_to_rounding_relative_to_itself(p):
    """Rounding a difference of logits x, and then its exponential, costs x times that of one, for x up to 745."""
    N = p.Z @ p.theta.mT
    for labels in (p.C, p.y) if p.hard else (p.C,):
        assert potentials.cross_entropy(N, labels).item() == pytest.approx(exact(N, p.C), rel=1e-13, abs=1e-300)


@settings(max_examples=30)
@given(problems)
def test_first_and_second_derivatives_are_right(p):
    N = p.Z @ p.theta.mT
    slope = lambda N: N.softmax(-1) - p.C
    for labels in (p.C, p.y) if p.hard else (p.C,):
        loss = lambda N, labels=labels: potentials.cross_entropy(N, labels)
        assert close(grad(loss)(N), slope(N), floor=1.0)
        assert close(hessian(loss)(N), jacrev(slope)(N), floor=1.0)
        assert close(jacrev(jacrev(loss))(N), jacrev(slope)(N), floor=1.0)


def test_derivatives_take_batches_and_ties():
    N = torch.cat([P.draw(6, P.n, P.k, salt=70), torch.zeros(1, P.n, P.k).double()])
    for labels in (P.C, P.y):
        C = F.one_hot(P.y, P.k).double() if labels is P.y else P.C
        loss, right = (lambda N, c=labels: potentials.cross_entropy(N, c)), (lambda N, c=C: written_out(N, c))
        assert close(vmap(grad(loss))(N), torch.stack([grad(right)(one) for one in N]))
        assert close(vmap(hessian(loss))(N), torch.stack([hessian(right)(one) for one in N]))


def test_where_the_label_is_all_but_sure_the_slope_keeps_its_digits():
    N = torch.tensor([[100.0, 0.0, 1.0]]).double()
    right = math.exp(-100) * torch.tensor([[-(1 + math.e), 1.0, math.e]], dtype=torch.float64)
    for labels in (torch.tensor([0]), torch.eye(3).double()[:1]):
        assert close(grad(lambda N, c=labels: potentials.cross_entropy(N, c))(N), right, 1e-13)


def test_a_masked_class_is_as_if_it_were_not_there():
    N, mask = P.draw(P.n, P.k + 1, salt=71), torch.arange(P.k + 1) == 2
    hidden = lambda N: N.masked_fill(mask, -torch.inf)
    smooth = torch.where(mask, 0.0, 0.9 * F.one_hot(torch.zeros(P.n).long(), P.k + 1).double() + 0.1 / P.k)
    whole, part = lambda N: potentials.cross_entropy(hidden(N), smooth), lambda N: written_out(N[:, ~mask], smooth[:, ~mask])
    for of in (lambda f: f, grad, hessian):
        assert close(of(whole)(N), of(part)(N))
    assert potentials.cross_entropy(hidden(N), torch.full((P.n,), 2)) == torch.inf


def test_raw_pixels_keep_the_digits_of_their_differences():
    generator = torch.Generator().manual_seed(1)
    Z = torch.randint(0, 256, (4, 784), generator=generator).float()
    theta = torch.randn(10, 784, generator=generator) + 1
    y = (Z @ theta.mT).argmax(1)
    assert potentials.linear(Z, theta, y).item() == pytest.approx(1.769e-5, rel=4e-3)
    assert potentials.linear(Z.double(), theta.double(), y).item() == pytest.approx(1.7691777e-5, rel=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_what_prototypes_or_tokens_have_in_common_costs_no_digits(causal):
    """Exact shifts: entries are multiples of 1/64, so that float32 holds them with and without the offset."""
    grid = lambda X: (64 * X).round().float() / 64
    offset = torch.tensor([4096.0, -4096.0, 0.0])
    Z, theta, form = grid(P.Z), grid(P.theta), torch.eye(3)
    assert close(potentials.linear(Z, theta + offset, P.y), potentials.linear(Z.double(), theta.double(), P.y), 1e-5)
    shifted = Z + offset
    right = potentials.quadratic(shifted.double(), form.double(), torch.arange(4), causal=causal)
    assert close(potentials.quadratic(shifted, form, torch.arange(4), causal=causal), right, 1e-6)


EXTREME = torch.full((2, 64), 40.0)
EXTREME[1] = -40
EYE, BOTH = torch.eye(64), torch.tensor([0, 1])
FITS = {  # what fits float16 although the logits, ±102400 before the scale, do not
    "linear": lambda Z, I, s: potentials.linear(Z, Z, BOTH, s),
    "quadratic": lambda Z, I, s: potentials.quadratic(Z, I, BOTH, s),
    "heads": lambda Z, I, s: potentials.multi_head(Z, I[None], BOTH, s),
    "cross-attention": lambda Z, I, s: attention.cross_attention(Z, Z, s),
    "cross-attention, heads": lambda Z, I, s: attention.multi_head_cross_attention(Z, torch.stack([Z, Z / 2]), scale=s),
    "self-attention": lambda Z, I, s: attention.self_attention(Z, I, s),
    "companion": lambda Z, I, s: attention.companion(Z, I, s),
    "companion, heads": lambda Z, I, s: attention.companion(Z, I[None], s),
    "quadratic attention": lambda Z, I, s: attention.quadratic_attention(Z, I, s),
    "reads": lambda Z, I, s: torch.stack(attention.reads(Z, I[None], Z[None], s)),
    "regressions": lambda Z, I, s: potentials.many_regressions(Z / 8, torch.stack([Z, -Z]) / 8, scale=s),
    "perceptron": lambda Z, I, s: potentials.mlp(Z, I, "relu") / 8,
}


@pytest.mark.parametrize("call", FITS.values(), ids=FITS)
@pytest.mark.parametrize("scale", [1 / 8, 1.0, 1e-7])
def test_float16_holds_what_fits_it(call, scale):
    found, right = call(EXTREME.half(), EYE.half(), scale), call(EXTREME.double(), EYE.double(), scale)
    fits = right.abs() < torch.finfo(HALF).max
    assert found.dtype == HALF and torch.equal(found.isfinite(), fits)
    # Averages of ±40, whose rounding is relative to that; a scale that had underflowed would be off by a hundredth of it.
    assert close(found.double().where(fits, 0.0), right.where(fits, 0.0), 1e-3, floor=40.0)


def test_a_gap_that_overflows_float16_counts_where_its_label_is_small():
    N, C = torch.tensor([[6e4, -6e4]]).half(), torch.tensor([[1 - 2**-10, 2**-10]]).half()
    assert potentials.cross_entropy(N, C).item() == pytest.approx(120000 / 1024, rel=1e-3)


@pytest.mark.parametrize("dtype", [HALF, torch.bfloat16])
def test_narrow_potentials_are_those_of_float32_rounded_once(dtype):
    Z, theta, form, phi, C, D = (X.to(dtype) for X in (P.Z, P.theta, P.form, P.phi, P.C, P.D))
    for call in (
        lambda Z, theta, form, phi, C, D: potentials.linear(Z, theta, C, 0.7),
        lambda Z, theta, form, phi, C, D: potentials.quadratic(Z, form, D, 0.7),
        lambda Z, theta, form, phi, C, D: potentials.multi_head(Z, torch.stack([phi, phi]), D, 0.7),
        lambda Z, theta, form, phi, C, D: potentials.many_regressions(Z, theta[None], scale=0.7),
        lambda Z, theta, form, phi, C, D: potentials.mlp(Z, theta, "sigmoid"),
    ):
        narrow, wide = call(Z, theta, form, phi, C, D), call(*(X.float() for X in (Z, theta, form, phi, C, D)))
        assert narrow.dtype == dtype and torch.equal(narrow, wide.to(dtype))
