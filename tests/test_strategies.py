"""The instruments of the checks: problems of all kinds, errors that are relative, orders and leading terms."""

import math

import pytest
import torch
from claims.formulas import has_leading_term, has_order
from hypothesis import given, settings
from strategies import Problem, close, deviation, problems

FLOW = lambda h, z=2.0: torch.tensor([z / (1 + h * z)]).double()  # of ż = −z²: z − hz² + h²z³ − …
EULER = lambda h, z=2.0: torch.tensor([z - h * z**2]).double()


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_deviations_are_relative_whatever_the_size(size):
    x = torch.tensor([1.0, -4.0]).double()
    assert deviation(size * (x + 0.02), size * x) == pytest.approx(0.005)
    assert not close(0 * x, size * x, 0.999)


def test_a_floor_is_asked_for():
    zero, tiny = torch.zeros(2), torch.full((2,), 1e-13)
    assert close(zero, zero) and not close(tiny, zero) and close(tiny, zero, floor=1.0)
    assert close(tiny, zero, floor=torch.tensor([0.0, -1.0])) and not close(tiny, zero, floor=1e-3)


def test_what_has_another_shape_or_is_no_number_is_close_to_nothing():
    x = torch.ones(3)
    assert deviation(x[None], x) == deviation(x * math.nan, x) == deviation(x * math.inf, x * math.inf) == math.inf


@given(problems)
def test_labels_are_hard_or_positive_and_stretched_logits_reach_what_is_asked(p):
    for labels in (p.C, p.D):
        assert close(labels.sum(-1), torch.ones(p.n).double())
        assert ((labels == 0) | (labels == 1)).all() if p.hard else (labels > 0).all()
    assert torch.equal(p.C.argmax(-1), p.y)
    if p.logit:
        forms = [p.form, p.phi @ p.phi.mT, *(phi @ phi.mT for phi in p.heads)]
        for N in (p.Z @ form @ p.Z.mT for form in forms):
            assert N.abs().max() == pytest.approx(p.logit)
        assert p.tie or (p.Z @ p.theta.mT).abs().max() == pytest.approx(p.logit)
    if p.tie and p.k > 1:
        N = p.Z @ p.theta.mT
        assert (N[:, 1] - N[:, 0]).abs().max() <= 1 + 1e-9


def test_the_problems_are_of_many_kinds_and_few_are_trivial():
    drawn = []
    settings(max_examples=500, derandomize=True)(given(problems)(lambda p: drawn.append(p)))()
    share = lambda what: sum(map(what, drawn)) / len(drawn)
    assert share(lambda p: p.n == 1 or p.k == 1) < 0.12
    for what in (lambda p: p.hard, lambda p: not p.hard, lambda p: p.logit == 500, lambda p: p.tie):
        assert share(what) > 0.1
    assert 0.02 < share(lambda p: p.d > 8) < 0.2


@pytest.mark.parametrize("z", [2.0, 2e-6])
def test_a_leading_term_is_told_from_its_neighbours(z):
    step, flow = (lambda h: EULER(h, z)), (lambda h: FLOW(h, z))
    holds = lambda c, order=2: has_leading_term(Problem(), step, flow, order, torch.tensor([c]).double(), 1 / z)
    assert holds(-(z**3))
    assert not any(holds(-c * z**3) for c in (-1.0, 0.0, 1.009, 0.991, 24 / 25))
    assert not holds(-(z**2), 1) and not holds(z**4, 3)


def test_an_order_is_told_from_its_neighbours():
    assert [order for order in (1, 2, 3) if has_order(EULER, FLOW, order, 0.5)] == [2]
    assert not any(has_order(FLOW, FLOW, order, 0.5) for order in (1, 2, 3))
