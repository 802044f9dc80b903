import pytest
import torch
from strategies import Problem, close

from imr import flow, potentials
from imr.attention import companion, cross_attention, self_attention
from imr.blocks import CrossAttentionBlock, SelfAttentionBlock

P = Problem(n=6, d=3, k=4, r=2)


def _filled(block):
    """The block in float64 with random parameters."""
    generator = torch.Generator().manual_seed(1)
    for parameter in block.double().parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2
    return block


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_cross_attention_block_is_an_euler_step_of_the_label_free_field(scale):
    block = _filled(CrossAttentionBlock(3, 4, scale=scale))
    assert close(block(P.Z), flow.euler(flow.label_free_field(block.theta, block.W, scale), block.h)(P.Z))


def test_with_labels_that_are_linear_in_the_features_it_is_the_labelled_flow():
    block, U = _filled(CrossAttentionBlock(3, 4)), P.draw(3, 4, salt=50)
    block.W.data = U @ block.theta.data  # then ZW = Cθ for C = ZU
    assert close(block(P.Z), flow.euler(flow.linear_field(block.theta, P.Z @ U), block.h)(P.Z))


def test_without_linear_map_attention_enters_with_a_minus():
    block = _filled(CrossAttentionBlock(3, 4, linear_map=False))
    assert close(block(P.Z) - P.Z, -block.h * cross_attention(P.Z, block.theta))


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_self_attention_block_descends_its_potential(scale):
    """With W the label term of C = I, the block is an Euler step of minus a gradient."""
    block = _filled(SelfAttentionBlock(3, 2, heads=2, scale=scale))
    block.W.data = 2 * sum(phi @ phi.T for phi in block.phi.data)
    loss = lambda Z: potentials.multi_head(Z, block.phi, torch.arange(6), scale)
    assert close(block(P.Z), P.Z - block.h * torch.func.grad(loss)(P.Z))


def test_with_one_read_it_is_the_usual_self_attention():
    block = _filled(SelfAttentionBlock(3, 2, heads=2, both_reads=False, scale=0.7))
    assert close(block(P.Z), P.Z + block.h * (P.Z @ block.W - self_attention(P.Z, block.phi, 0.7)))
    both = _filled(SelfAttentionBlock(3, 2, heads=2, scale=0.7))
    assert close(block(P.Z) - both(P.Z), block.h * companion(P.Z, block.phi, 0.7))


@pytest.mark.parametrize("make", [lambda: CrossAttentionBlock(3, 4, h=0.5), lambda: SelfAttentionBlock(3, 2, h=0.5)])
def test_starts_with_the_stated_step_and_without_a_linear_map(make):
    block = make()
    assert block.h == 0.5
    assert not block.W.any()
    block.W.data.add_(0.1)
    block.float()(P.Z.float()).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in block.parameters())


def test_prototypes_start_with_norm_about_one():
    torch.manual_seed(0)
    assert abs(CrossAttentionBlock(400, 50).theta.norm(dim=-1).mean() - 1) < 0.05
    assert abs(SelfAttentionBlock(400, 50, heads=2).phi.norm(dim=-2).mean() - 1) < 0.05
    assert SelfAttentionBlock(400, 50, heads=2).phi.shape == (2, 400, 50)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossAttentionBlock(0, 4), "d is 0"),
        (lambda: CrossAttentionBlock(3, 0), "k is 0"),
        (lambda: SelfAttentionBlock(0, 2), "d is 0"),
        (lambda: SelfAttentionBlock(3, 0), "r is 0"),
        (lambda: SelfAttentionBlock(3, 2, heads=0), "heads is 0"),
    ],
)
def test_sizes_below_one_are_refused(make, message):
    with pytest.raises(ValueError, match=f"{message}, expected at least 1"):
        make()
