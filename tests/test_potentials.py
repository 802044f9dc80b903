import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from strategies import Problem, close, problems
from torch.func import grad

from imr import potentials

P = Problem(n=24, d=3, k=4, r=2)


@given(problems)
def test_linear_is_torchs_cross_entropy_summed(p):
    N = p.Z @ p.theta.T
    expected = F.cross_entropy(N, p.C, reduction="sum")  # whose rounding is relative to the logits
    assert close(potentials.linear(p.Z, p.theta, p.C), expected, floor=N)


def test_losses_are_sums_over_the_tokens_and_not_means():
    assert close(
        potentials.linear(P.Z, P.theta, P.C), sum(potentials.linear(P.Z[[i]], P.theta, P.C[[i]]) for i in range(P.n))
    )


@given(problems)
def test_class_numbers_are_one_hot_labels(p):
    one_hot = F.one_hot(p.y, p.k).double()
    assert close(potentials.linear(p.Z, p.theta, p.y), potentials.linear(p.Z, p.theta, one_hot))


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.0])
def test_scale_multiplies_the_logits_and_divides_the_loss(scale):
    expected = F.cross_entropy(scale * P.Z @ P.theta.T, P.C, reduction="sum") / scale
    assert close(potentials.linear(P.Z, P.theta, P.C, scale), expected)
    expected = F.cross_entropy(scale * P.Z @ P.form @ P.Z.T, P.D, reduction="sum") / scale
    assert close(potentials.quadratic(P.Z, P.form, P.D, scale), expected)


def test_batch_dimensions_give_one_loss_each():
    Z, C, y = P.Z.reshape(2, 3, 4, 3), P.C.reshape(2, 3, 4, 4), P.y.reshape(2, 3, 4)
    for labels, own in ((C, P.C[4:8]), (y, P.y[4:8])):
        batched = potentials.linear(Z, P.theta, labels)
        assert batched.shape == (2, 3)
        assert close(batched[0, 1], potentials.linear(P.Z[4:8], P.theta, own))
    quadratic = potentials.quadratic(Z, P.form, torch.arange(4))
    assert quadratic.shape == (2, 3)
    assert close(quadratic[0, 1], potentials.quadratic(P.Z[4:8], P.form, torch.arange(4)))
    heads = potentials.multi_head(Z, P.heads, torch.arange(4))
    assert heads.shape == (2, 3)
    assert close(heads[0, 1], sum(potentials.quadratic(P.Z[4:8], phi @ phi.T, torch.arange(4)) for phi in P.heads))
    assert close(potentials.mlp(Z, P.theta)[0, 1], potentials.mlp(P.Z[4:8], P.theta))


def test_scales_of_heads():
    expected = sum(potentials.quadratic(P.Z, phi @ phi.T, P.D, 0.5) for phi in P.heads)
    assert close(potentials.multi_head(P.Z, P.heads, P.D, 0.5), expected)


def test_causal_logits_hide_what_comes_later():
    N = potentials.quadratic_logits(P.Z, P.form, causal=True)
    later = torch.arange(24) > torch.arange(24)[:, None]
    assert torch.equal(potentials.future(24), later)
    assert (N[later] == -torch.inf).all()
    assert close(N[~later], potentials.quadratic_logits(P.Z, P.form)[~later])


def test_masked_logits_with_labels_that_vanish_there_have_a_finite_loss():
    C = torch.eye(24).double()
    assert potentials.quadratic(P.Z, P.form, C, causal=True).isfinite()
    assert close(
        potentials.quadratic(P.Z, P.form, C, causal=True), potentials.quadratic(P.Z, P.form, torch.arange(24), causal=True)
    )


def test_a_label_on_what_is_masked_costs_everything():
    assert potentials.quadratic(P.Z, P.form, torch.full((24,), 23), causal=True) == torch.inf


def test_large_logits_do_not_overflow():
    assert potentials.linear(1e4 * P.Z, P.theta, P.C).isfinite()


def test_the_potentials_of_activations_vanish_at_zero_or_are_softplus():
    zero = torch.zeros(1, 3).double()
    assert potentials.mlp(zero, P.theta, "relu") == 0
    assert potentials.mlp(zero, P.theta, "gelu") == 0
    assert close(potentials.mlp(zero, P.theta, "sigmoid"), 4 * torch.tensor(2.0).double().log())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: potentials.linear(P.Z, P.theta.T, P.C), r"theta has shape \(3, 4\), expected \(k, 3\).*looks transposed"),
        (
            lambda: potentials.linear(P.Z, P.theta[:, :2], P.C),
            r"theta has shape \(4, 2\), expected \(k, 3\): its last axis must be the d of Z \(24, 3\)$",
        ),
        (lambda: potentials.linear(P.Z[0], P.theta, P.C), r"z\[None\]"),
        (lambda: potentials.linear(P.Z, P.theta[0], P.C), r"theta \(3,\)"),
        (lambda: potentials.linear(P.Z, P.theta, P.C[:, :3]), r"C has shape \(24, 3\) .* expected \(\.\.\., 24, 4\)"),
        (lambda: potentials.linear(P.Z, P.theta, P.C[:3]), r"C has shape \(3, 4\)"),
        (lambda: potentials.linear(P.Z, P.theta, P.y[:3]), r"C has shape \(3,\) .* expected \(\.\.\., 24\), int64"),
        (lambda: potentials.linear(P.Z, P.theta, P.y.int()), "int32"),
        (lambda: potentials.linear(P.Z, P.theta, torch.tensor(1)), r"C has shape \(\)"),
        (lambda: potentials.linear(P.Z, P.theta, P.y + 4), "class numbers from 4 to .*, expected 0 to 3"),
        (lambda: potentials.linear(P.Z, P.theta, P.y - 1), "class numbers from -1"),
        (lambda: potentials.linear(P.Z, P.theta, P.C, 0.0), "scale is 0.0, expected a positive number"),
        (lambda: potentials.linear(P.Z, P.theta, P.C, float("nan")), "scale is nan"),
        (lambda: potentials.quadratic(P.Z, P.phi, P.D), r"theta \(3, 2\), expected \(\.\.\., n, d\) and \(d, d\)"),
        (lambda: potentials.quadratic(P.Z[0], P.form, P.D), r"Z has shape \(3,\)"),
        (lambda: potentials.quadratic(P.Z, P.form, P.D, -1.0), "scale is -1.0"),
        (lambda: potentials.quadratic(P.Z, P.form, P.C), r"expected \(\.\.\., 24, 24\)"),
        (lambda: potentials.multi_head(P.Z, P.phi, P.D), r"phi has shape \(3, 2\), expected \(heads, d, r\)"),
        (lambda: potentials.mlp(P.Z, P.theta, "tanh"), "unknown activation 'tanh', expected one of: sigmoid, relu, gelu"),
    ],
)
def test_bad_input_says_what_was_given_and_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_slope_in_the_labels_is_the_gap_at_a_hard_label_too():
    N, C = torch.tensor([[1.0, 2.0, 0.0]]).double(), torch.tensor([[1.0, 0.0, 0.0]]).double()
    assert torch.equal(grad(lambda C: potentials.cross_entropy(N, C))(C), torch.tensor([[1.0, 0.0, 2.0]]).double())
    masked = N.masked_fill(torch.tensor([False, False, True]), -torch.inf)
    assert torch.equal(grad(lambda C: potentials.cross_entropy(masked, C))(C)[0, :2], torch.tensor([1.0, 0.0]).double())


def test_integer_logits_are_refused():
    with pytest.raises(ValueError, match="expected floating-point numbers"):
        potentials.cross_entropy(torch.tensor([[0, 1]]), torch.tensor([0]))
