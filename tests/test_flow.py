import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import close, problem, problems

from imr import flow, potentials


@given(problems, st.sampled_from([0.5, 1.0, 2.0]))
def test_linear_field_is_minus_the_gradient_of_the_potential(p, scale):
    Z, theta, C = p
    gradient = torch.func.grad(lambda Z: potentials.linear(Z, theta, C, scale))(Z)
    assert close(flow.linear_field(theta, C, scale)(Z), -gradient)


def test_the_check_rejects_plausible_wrong_fields():
    Z, theta, C = problem(5, 3, 4, seed=0, scale=1.0)
    gradient = torch.func.grad(lambda Z: potentials.linear(Z, theta, C))(Z)
    CA = (Z @ theta.T).softmax(-1) @ theta
    for name, wrong in {"plus attention": C @ theta + CA, "no label": -CA, "ascent": CA - C @ theta}.items():
        assert not close(wrong, -gradient), name


@given(problems, st.floats(0.01, 0.999))
def test_each_step_below_the_bound_descends_as_the_lemma_says(p, fraction):
    Z, theta, C = p
    h = fraction * flow.descent_bound(theta)
    velocity = flow.linear_field(theta, C)(Z)
    before, after = (potentials.linear(X, theta, C) for X in (Z, flow.euler(flow.linear_field(theta, C), h)(Z)))
    assert after <= before - h * (1 - fraction) * (velocity**2).sum() + 1e-10 * (1 + before.abs())


def test_the_bound_is_sharp():
    theta = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    C, Z = torch.tensor([[0.5, 0.5]], dtype=torch.float64), torch.tensor([[1e-3, 0.0]], dtype=torch.float64)
    field, loss = flow.linear_field(theta, C), lambda Z: potentials.linear(Z, theta, C)
    bound = flow.descent_bound(theta)
    assert loss(flow.euler(field, 0.995 * bound)(Z)) < loss(Z) < loss(flow.euler(field, 1.005 * bound)(Z))


def test_euler_converges_with_order_one():
    Z, theta, C = problem(5, 3, 4, seed=1, scale=1.0)
    field = flow.linear_field(theta, C)
    end = lambda steps: flow.trajectory(flow.euler(field, 1 / steps), Z, steps)[-1]
    exact = 2 * end(8192) - end(4096)  # extrapolated
    errors = [(end(steps) - exact).abs().max().item() for steps in (64, 128)]
    assert 1.9 < errors[0] / errors[1] < 2.1


def test_trajectory_starts_with_the_features_and_keeps_every_iterate():
    states = flow.trajectory(lambda Z: 2 * Z, torch.ones(3, 2), iterates=3)
    assert states.shape == (4, 3, 2)
    assert states[:, 0, 0].tolist() == [1, 2, 4, 8]
    assert flow.trajectory(lambda Z: Z, torch.ones(3, 2), iterates=0).shape == (1, 3, 2)


def test_negative_iterates_are_refused():
    with pytest.raises(ValueError, match="iterates is -1, expected 0 or more"):
        flow.trajectory(lambda Z: Z, torch.ones(1, 1), -1)
