import math

import pytest
import torch

from imr.data import CENTRE
from imr.experiment.evaluation import confusion, descent, noisy
from imr.experiment.models import build


def test_confusion_counts_true_classes_against_read_ones(digits):
    model = build("one block iterated", 8, 8, 10)
    counts, N = confusion(model, digits.test), model(digits.test.X)
    assert counts.shape == (5, 10, 10)
    assert (counts.sum(-1) == digits.test.y.bincount()).all()
    assert counts[4, 3, 5] == ((digits.test.y == 3) & (N[4].argmax(-1) == 5)).sum()
    assert not torch.equal(counts[4], counts[4].mT)


def test_noise_has_the_stated_spread_and_a_fixed_generator(digits):
    noise = noisy(digits.test.X, 0.3, seed=1) - digits.test.X
    drawn = torch.randn(digits.test.X.shape, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(noise, 0.3 * drawn, atol=1e-6)
    assert abs(noise.std() - 0.3) < 0.005
    assert abs(noise.mean()) < 0.005
    assert torch.equal(noisy(digits.test.X, 0.3, seed=1) - digits.test.X, noise)


def test_descent_compares_each_step_with_its_tangent(digits):
    torch.manual_seed(0)
    model, X = build("block", 8, 8, 10), digits.test.X[:30]
    rows = descent(model, X)
    assert [row["iterate"] for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [row["part"] for row in rows] == 4 * ["CrossAttentionBlock", "PerceptronBlock"]
    part, Z, first = model.block(0).parts[0], model.tokens(X - CENTRE, 0).requires_grad_(), rows[0]
    (gradient,) = torch.autograd.grad(part.potential(Z).sum(), Z)
    before, after = part.potential(Z), part.potential(Z - part.h * gradient)
    promised = part.h * gradient.square().sum((-2, -1))
    assert first["step"] == pytest.approx(part.h.item())
    assert [first["before"], first["after"]] == pytest.approx([before.mean().item(), after.mean().item()], rel=1e-5)
    assert first["falls"] == pytest.approx((after < before).double().mean().item())
    assert first["taken_back"] == pytest.approx(((promised - before + after) / promised).max().item(), rel=1e-3)


@pytest.mark.parametrize(("h", "least", "most"), [(1e-2, -0.2, 0.2), (10.0, 1.0, math.inf)])
def test_a_short_step_falls_and_a_long_one_may_not(digits, h, least, most):
    torch.manual_seed(0)
    model = build("one block iterated", 8, 8, 10)
    part = model.block(0).parts[0]
    part.log_h.data.fill_(math.log(h))
    part.theta.data *= 10
    rows = descent(model.double(), digits.test.X[:30].double())
    assert least < max(row["taken_back"] for row in rows) < most
    assert all((row["falls"] == 1) == (row["taken_back"] < 1) for row in rows)
