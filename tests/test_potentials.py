import pytest
import torch.nn.functional as F
from hypothesis import given
from strategies import close, problem, problems

from imr import potentials


@given(problems)
def test_linear_is_torchs_cross_entropy_summed(p):
    Z, theta, C = p
    ours = potentials.linear(Z, theta, C)
    assert close(ours, F.cross_entropy(Z @ theta.T, C, reduction="sum"))


def test_linear_is_a_sum_not_a_mean():
    Z, theta, C = problem(6, 3, 4, seed=0, scale=1.0)
    assert not close(potentials.linear(Z, theta, C), F.cross_entropy(Z @ theta.T, C, reduction="mean"))


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.0])
def test_scale_multiplies_the_logits_and_divides_the_loss(scale):
    Z, theta, C = problem(5, 3, 4, seed=1, scale=1.0)
    expected = F.cross_entropy(scale * Z @ theta.T, C, reduction="sum") / scale
    assert close(potentials.linear(Z, theta, C, scale), expected)


def test_batch_dimensions_give_one_loss_each():
    Z, theta, C = problem(24, 3, 4, seed=2, scale=1.0)
    batched = potentials.linear(Z.reshape(2, 3, 4, 3), theta, C.reshape(2, 3, 4, 4))
    assert batched.shape == (2, 3)
    assert close(batched.sum(), potentials.linear(Z, theta, C))
    assert close(batched[0, 1], potentials.linear(Z[4:8], theta, C[4:8]))


def test_large_logits_do_not_overflow():
    Z, theta, C = problem(4, 3, 5, seed=3, scale=1.0)
    assert potentials.linear(1e4 * Z, theta, C).isfinite()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda Z, theta, C: (Z, theta.T, C), r"theta has shape \(3, 4\), expected \(k, 3\).*transposed"),
        (lambda Z, theta, C: (Z, theta[:, :2], C), r"theta has shape \(4, 2\), expected \(k, 3\)"),
        (lambda Z, theta, C: (Z[0], theta, C), r"z\[None\]"),
        (lambda Z, theta, C: (Z, theta, C[:, :3]), r"C has shape \(5, 3\), expected \(\.\.\., 5, 4\).*one_hot"),
        (lambda Z, theta, C: (Z, theta, C, 0.0), "scale is 0.0, expected a positive number"),
        (lambda Z, theta, C: (Z, theta, C, float("nan")), "scale is nan"),
    ],
)
def test_bad_shapes_say_what_was_given_and_expected(change, message):
    with pytest.raises(ValueError, match=message):
        potentials.linear(*change(*problem(5, 3, 4, seed=4, scale=1.0)))
