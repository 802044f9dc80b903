import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from strategies import close, problem, problems

from imr.attention import cross_attention

lse = lambda Z, theta, scale=1.0: (scale * Z @ theta.T).logsumexp(-1).sum() / scale


@given(problems)
def test_cross_attention_is_the_gradient_of_log_sum_exp(p):
    Z, theta, _ = p
    assert close(cross_attention(Z, theta), torch.func.grad(lse)(Z, theta))


@given(problems)
def test_cross_attention_is_torchs(p):
    Z, theta, _ = p
    assert close(cross_attention(Z, theta), F.scaled_dot_product_attention(Z[None], theta[None], theta[None], scale=1.0)[0])


@given(problems)
def test_theorem_1_as_a_tensor(p):
    Z, theta, _ = p
    jacobian = torch.func.jacrev(lambda Z: (Z @ theta.T).logsumexp(-1))(Z)  # (n, n, d)
    eye = torch.eye(len(Z), dtype=Z.dtype)
    assert close(torch.einsum("ip,iq->ipq", eye, cross_attention(Z, theta)), jacobian)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_scale_is_that_of_the_potential(scale):
    Z, theta, _ = problem(5, 3, 4, seed=1, scale=1.0)
    assert close(cross_attention(Z, theta, scale), torch.func.grad(lse)(Z, theta, scale))


def test_central_differences_of_the_scalar_agree():
    Z, theta, _ = problem(4, 3, 5, seed=2, scale=1.0)
    basis = torch.eye(12, dtype=Z.dtype).reshape(12, 4, 3)
    central = torch.stack([(lse(Z + 1e-5 * E, theta) - lse(Z - 1e-5 * E, theta)) / 2e-5 for E in basis]).reshape(4, 3)
    assert (cross_attention(Z, theta) - central).abs().max() < 1e-8


def _plausible_but_wrong(Z, theta):
    sigma = (Z @ theta.T).softmax(-1)
    return {
        "minus": -sigma @ theta,
        "factor 2": 2 * sigma @ theta,
        "p(1 - p)": (sigma * (1 - sigma)) @ theta,
        "mean over tokens": sigma @ theta / len(Z),
        "softmax over tokens": (Z @ theta.T).softmax(-2) @ theta,
        "torch's default scale": F.scaled_dot_product_attention(Z[None], theta[None], theta[None])[0],
    }


def test_the_check_rejects_plausible_wrong_formulas():
    Z, theta, _ = problem(5, 3, 4, seed=3, scale=1.0)
    gradient = torch.func.grad(lse)(Z, theta)
    for name, wrong in _plausible_but_wrong(Z, theta).items():
        assert not close(wrong, gradient), name


def test_batch_dimensions_on_features_and_on_prototypes():
    Z, theta, _ = problem(24, 3, 10, seed=4, scale=1.0)
    whole = cross_attention(Z, theta)
    assert close(cross_attention(Z.reshape(2, 3, 4, 3), theta), whole.reshape(2, 3, 4, 3))
    own = cross_attention(Z.reshape(2, 12, 3), theta.reshape(2, 5, 3))
    assert close(own[1], cross_attention(Z[12:], theta[5:]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtype_is_kept(dtype):
    Z, theta, _ = problem(5, 3, 4, seed=5, scale=1.0)
    assert cross_attention(Z.to(dtype), theta.to(dtype)).dtype == dtype


def test_transposed_prototypes_are_named():
    Z, theta, _ = problem(5, 3, 4, seed=6, scale=1.0)
    with pytest.raises(ValueError, match=r"pass theta\.T"):
        cross_attention(Z, theta.T)
