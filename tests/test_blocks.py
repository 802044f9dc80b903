import pytest
import torch
from strategies import close, problem

from imr.attention import cross_attention
from imr.blocks import CrossAttentionBlock
from imr.flow import euler, linear_field


def _block(d, k, **options):
    block = CrossAttentionBlock(d, k, **options).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return block


def test_the_block_is_an_euler_step_of_the_label_free_field():
    Z, _, _ = problem(6, 3, 4, seed=0, scale=1.0)
    block = _block(3, 4)
    expected = Z + block.h * (Z @ block.W - cross_attention(Z, block.theta))
    assert close(block(Z), expected)


def test_with_labels_that_are_linear_in_the_features_the_block_is_the_labelled_flow():
    Z, _, _ = problem(6, 3, 4, seed=1, scale=1.0)
    block = _block(3, 4)
    U = torch.randn(3, 4, dtype=torch.float64)
    block.W.data = U @ block.theta  # then ZW = Cθ for C = ZU
    assert close(block(Z), euler(linear_field(block.theta, Z @ U), block.h)(Z))


def test_without_linear_map_attention_enters_with_a_minus():
    Z, _, _ = problem(6, 3, 4, seed=2, scale=1.0)
    block = _block(3, 4, linear_map=False)
    assert close(block(Z) - Z, -block.h * cross_attention(Z, block.theta))


def test_every_parameter_is_learned():
    Z, _, _ = problem(6, 3, 4, seed=3, scale=1.0)
    block = _block(3, 4)
    block(Z).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in block.parameters())


@pytest.mark.parametrize(("d", "k", "message"), [(0, 4, "d is 0"), (3, 0, "k is 0")])
def test_sizes_below_one_are_refused(d, k, message):
    with pytest.raises(ValueError, match=message):
        CrossAttentionBlock(d, k)
