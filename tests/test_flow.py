"""What the witnesses of the claims (tests/claims) leave open: integrators, batches, labels and errors."""

import pytest
import torch
from strategies import Problem, close

from imr import flow, potentials

P = Problem(n=6, d=3, k=4, r=2)


def test_class_numbers_are_one_hot_labels():
    one_hot = torch.nn.functional.one_hot
    linear = flow.linear_field(P.theta, P.y)(P.Z)
    assert close(linear, flow.linear_field(P.theta, one_hot(P.y, 4).double())(P.Z))
    points_at = torch.tensor([2, 2, 0, 5, 1, 2])
    for causal in (False, True):
        quadratic = flow.quadratic_field(P.form, points_at, 0.7, causal)(P.Z)
        assert close(quadratic, flow.quadratic_field(P.form, one_hot(points_at, 6).double(), 0.7, causal)(P.Z))
        stopped = flow.stop_gradient_field(P.phi, points_at, 0.7, causal)(P.Z)
        assert close(stopped, flow.stop_gradient_field(P.phi, one_hot(points_at, 6).double(), 0.7, causal)(P.Z))


def test_the_causal_quadratic_field_is_the_gradient_of_the_causal_potential():
    points_at = torch.tensor([0, 0, 2, 1, 4, 3])
    for labels in (points_at, torch.nn.functional.one_hot(points_at, 6).double()):
        loss = lambda Z, C=labels: potentials.quadratic(Z, P.form, C, 0.7, causal=True)
        assert close(flow.quadratic_field(P.form, labels, 0.7, causal=True)(P.Z), -torch.func.grad(loss)(P.Z))


def test_fields_take_batches():
    Z = P.draw(2, 5, 6, 3, salt=60)
    for field in (
        flow.linear_field(P.theta, P.C),
        flow.linear_field(P.theta, P.y),
        flow.quadratic_field(P.form, torch.arange(6)),
        flow.quadratic_field(P.form, P.D),
        flow.stop_gradient_field(P.phi, torch.arange(6)),
        flow.label_free_field(P.theta, P.W, 0.5),
    ):
        assert close(field(Z)[1, 3], field(Z[1, 3]))
    numbers = torch.stack([P.y, P.y.flip(0)])
    assert close(flow.linear_field(P.theta, numbers)(Z[:, 0])[1], flow.linear_field(P.theta, P.y.flip(0))(Z[1, 0]))
    own = torch.stack([torch.arange(6), torch.arange(6).flip(0)])  # labels of their own for each batch element
    batched = flow.quadratic_field(P.form, own)(Z[:, 0])
    assert close(batched[1], flow.quadratic_field(P.form, own[1])(Z[1, 0]))


def test_scales_reach_the_attention():
    for make in (
        lambda s: flow.linear_field(P.theta, P.C, s),
        lambda s: flow.quadratic_field(P.form, P.D, s),
        lambda s: flow.stop_gradient_field(P.phi, P.D, s),
        lambda s: flow.label_free_field(P.theta, P.W, s),
    ):
        assert not close(make(0.5)(P.Z), make(1.0)(P.Z))


@pytest.mark.parametrize(("scheme", "order"), [(flow.euler, 1), (flow.midpoint, 2), (flow.rk4, 4)])
def test_integrators_have_their_order(scheme, order):
    field = flow.linear_field(P.theta, P.C)
    end = lambda scheme, steps: flow.trajectory(scheme(field, 1 / steps), P.Z, steps)[-1]
    truth = end(flow.rk4, 2000)
    errors = [(end(scheme, steps) - truth).norm() for steps in (20, 40)]
    assert abs(torch.log2(errors[0] / errors[1]) - order) < 0.2


def test_rk4_is_the_classical_scheme():
    """On ż = z its amplification is the exponential series to fourth order, on ż = z² it weighs the middle twice."""
    one = torch.ones(1, 1).double()
    assert close(flow.rk4(lambda Z: Z, 0.5)(one), one * (1 + 0.5 + 0.5**2 / 2 + 0.5**3 / 6 + 0.5**4 / 24))
    assert close(flow.midpoint(lambda Z: Z, 0.5)(one), one * (1 + 0.5 + 0.125))


def test_exact_sub_flows():
    assert close(flow.shift(P.B)(0.3)(P.Z), P.Z + 0.3 * P.B)
    twice = flow.linear_map(P.W)(0.2)(flow.linear_map(P.W)(0.1)(P.Z))
    assert close(twice, flow.linear_map(P.W)(0.3)(P.Z))
    assert close(flow.linear_map(torch.zeros(3, 3).double())(1.0)(P.Z), P.Z)


def test_splittings_apply_their_parts_in_order():
    add, double = (lambda h: lambda Z: Z + h), (lambda h: lambda Z: Z * 2**h)
    one = torch.ones(1, 1)
    assert flow.lie(add, double, 1.0)(one) == 4
    assert flow.lie(double, add, 1.0)(one) == 3
    assert flow.strang(add, double, 1.0)(one) == (1 + 0.5) * 2 + 0.5


def test_trajectory_starts_with_the_features_and_keeps_every_iterate():
    states = flow.trajectory(lambda Z: 2 * Z, torch.ones(3, 2), iterates=3)
    assert states.shape == (4, 3, 2)
    assert states[:, 0, 0].tolist() == [1, 2, 4, 8]
    assert flow.trajectory(lambda Z: Z, torch.ones(3, 2), iterates=0).shape == (1, 3, 2)


def test_negative_iterates_are_refused():
    with pytest.raises(ValueError, match="iterates is -1, expected 0 or more"):
        flow.trajectory(lambda Z: Z, torch.ones(1, 1), -1)


def test_lipschitz_bound_of_one_prototype_is_zero_and_grows_with_the_scale():
    assert flow.lipschitz_bound(P.theta[:1]) == 0
    assert close(flow.lipschitz_bound(P.theta, 3.0), 3 * flow.lipschitz_bound(P.theta))


def test_lipschitz_bound_keeps_digits_where_prototypes_are_far_from_zero():
    near = torch.cat([P.theta] * 10).float() + 1000
    exact = flow.lipschitz_bound(near.double())
    assert abs(flow.lipschitz_bound(near) - exact) < 1e-4 * exact


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: flow.linear_field(P.theta, P.y + 4), "class numbers from 4 to .*, expected 0 to 3"),
        (lambda: flow.linear_field(P.theta, P.y - 4), "class numbers from -"),
        (lambda: flow.linear_field(P.theta, P.C[0]), r"C has shape \(4,\)"),
        (lambda: flow.linear_field(P.theta, torch.tensor(1)), r"C has shape \(\)"),
        (lambda: flow.linear_field(P.theta, P.D), r"C has shape \(6, 6\) .* expected \(\.\.\., 6, 4\)"),
        (
            lambda: flow.linear_field(P.theta, P.C[:1])(P.Z),
            r"Z has shape \(6, 3\), expected \(\.\.\., 1, 3\): one token for each",
        ),
        (lambda: flow.linear_field(P.theta, P.C)(P.Z[:, :2]), r"Z has shape \(6, 2\), expected \(\.\.\., 6, 3\)"),
        (lambda: flow.lipschitz_bound(P.theta, -1.0), "scale is -1.0"),
        (lambda: flow.quadratic_field(P.phi, P.D)(P.Z), r"theta \(3, 2\), expected"),
        (lambda: flow.quadratic_field(P.form, P.C)(P.Z), r"C has shape \(6, 4\)"),
        (lambda: flow.quadratic_field(P.form, torch.arange(5))(P.Z), r"C has shape \(5,\)"),
        (lambda: flow.stop_gradient_field(P.phi, torch.full((6,), 6))(P.Z), "class numbers from 6 to 6, expected 0 to 5"),
        (lambda: flow.stop_gradient_field(P.phi, P.C)(P.Z), r"C has shape \(6, 4\)"),
    ],
)
def test_labels_and_forms_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
