import pytest
import torch
from strategies import Problem, close

from imr import flow, potentials
from imr.attention import companion, cross_attention, perceptron, self_attention
from imr.blocks import CrossAttentionBlock, PerceptronBlock, SelfAttentionBlock

P = Problem(n=6, d=3, k=4, r=2)


def filled(block):
    """The block in float64 with random parameters."""
    generator = torch.Generator().manual_seed(1)
    for parameter in block.double().parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2
    return block


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_cross_attention_block_is_an_euler_step_of_the_label_free_field(scale):
    block = filled(CrossAttentionBlock(3, 4, scale=scale))
    assert close(block(P.Z), flow.euler(flow.label_free_field(block.theta[0], block.W, scale), block.h)(P.Z))


def test_with_labels_that_are_linear_in_the_features_it_is_the_labelled_flow():
    block, U = filled(CrossAttentionBlock(3, 4)), P.draw(3, 4, salt=50)
    block.W.data = U @ block.theta.data[0]  # then ZW = Cθ for C = ZU
    assert close(block(P.Z), flow.euler(flow.linear_field(block.theta[0], P.Z @ U), block.h)(P.Z))


def test_without_linear_map_attention_enters_with_a_minus():
    block = filled(CrossAttentionBlock(3, 4, linear_map=False))
    assert close(block(P.Z) - P.Z, -block.h * cross_attention(P.Z, block.theta[0]))


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_self_attention_block_descends_its_potential(scale):
    """With W the label term of C = I, the block is an Euler step of minus a gradient."""
    block = filled(SelfAttentionBlock(3, 2, heads=2, scale=scale))
    block.W.data = 2 * sum(phi @ phi.T for phi in block.phi.data)
    loss = lambda Z: potentials.multi_head(Z, block.phi, torch.arange(6), scale)
    assert close(block(P.Z), P.Z - block.h * torch.func.grad(loss)(P.Z))


def test_with_one_read_it_is_the_usual_self_attention():
    block = filled(SelfAttentionBlock(3, 2, heads=2, both_reads=False, scale=0.7))
    assert close(block(P.Z), P.Z + block.h * (P.Z @ block.W - self_attention(P.Z, block.phi, 0.7)))
    both = filled(SelfAttentionBlock(3, 2, heads=2, scale=0.7))
    assert close(block(P.Z) - both(P.Z), block.h * companion(P.Z, block.phi, 0.7))


GRADIENTS = {
    "cross": lambda: CrossAttentionBlock(3, 4, linear_map=False, scale=0.7),
    "cross, up": lambda: CrossAttentionBlock(3, 4, linear_map=False, weights="up"),
    "cross, intercepts": lambda: CrossAttentionBlock(3, 4, linear_map=False, bias=True, scale=0.7),
    "heads": lambda: CrossAttentionBlock(3, 4, 2, linear_map=False, bias=True, scale=0.7),
    "heads, no intercepts": lambda: CrossAttentionBlock(3, 4, 2, linear_map=False, scale=0.7),
    "heads, up": lambda: CrossAttentionBlock(3, 4, 2, linear_map=False, bias=True, weights="up"),
    "heads, weighted": lambda: CrossAttentionBlock(3, 4, 2, linear_map=False, bias=True, weights="learned"),
    "self, weighted": lambda: SelfAttentionBlock(3, 2, heads=2, linear_map=False, weights="learned"),
    "self": lambda: SelfAttentionBlock(3, 2, heads=2, linear_map=False, scale=0.7),
    "self, up": lambda: SelfAttentionBlock(3, 2, heads=2, linear_map=False, weights="up"),
    "self with labels": lambda: SelfAttentionBlock(3, 2, heads=2, linear_map=False, labels=6, scale=0.7),
    "perceptron": lambda: PerceptronBlock(3, 5),
    "perceptron, gelu": lambda: PerceptronBlock(3, 5, activation="gelu"),
}


@pytest.mark.parametrize("make", GRADIENTS.values(), ids=GRADIENTS)
def test_a_step_goes_down_the_potential_of_its_block(make):
    block = filled(make())
    gradient = torch.func.grad(block.potential)(P.Z)
    assert gradient.abs().max() > 1e-2
    assert close(block(P.Z), P.Z - block.h * gradient)
    assert close(block(P.Z, 0.5), P.Z - block.h / 2 * gradient)
    small = P.Z - 1e-3 * gradient
    assert block.potential(small) < block.potential(P.Z)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CrossAttentionBlock(3, 4),
        lambda: CrossAttentionBlock(3, 4, 2, bias=True),
        lambda: CrossAttentionBlock(3, 4, linear_map=False, tied=False),
        lambda: CrossAttentionBlock(3, 4, 2, linear_map=False, bias=True, tied=False),
        lambda: SelfAttentionBlock(3, 2),
        lambda: SelfAttentionBlock(3, 2, linear_map=False, tied=False),
        lambda: SelfAttentionBlock(3, 2, linear_map=False, both_reads=False),
    ],
)
def test_a_step_that_is_no_gradient_has_no_potential(make):
    block = filled(make())
    with pytest.raises(ValueError, match="descends no potential"):
        block.potential(P.Z)
    jacobian = torch.func.jacrev(block.velocity)(P.Z).reshape(18, 18)
    assert (jacobian - jacobian.mT).abs().max() > 1e-2


def test_one_head_of_many_is_cross_attention():
    block = filled(CrossAttentionBlock(3, 4, bias=True))
    block.bias.data.zero_()
    assert close(block.velocity(P.Z), P.Z @ block.W - cross_attention(P.Z, block.theta[0]))


@pytest.mark.parametrize("make", GRADIENTS.values(), ids=GRADIENTS)
def test_a_batch_has_a_potential_for_each_of_its_elements(make):
    block, batch = filled(make()), P.draw(2, 4, 6, 3, salt=60)
    each = torch.stack([torch.stack([block.potential(Z) for Z in row]) for row in batch])
    assert close(block.potential(batch), each)
    assert close(block(batch)[1, 2], block(batch[1, 2]))


def test_potentials_are_those_of_the_package():
    """The scalars themselves, not only their slopes: a constant would not be seen in a step."""
    scale = 0.7
    block = filled(GRADIENTS["self"]())
    N = torch.stack([P.Z @ one @ one.T @ P.Z.T for one in block.phi])
    assert close(block.potential(P.Z), (scale * N).logsumexp(-1).sum() / scale)
    block = filled(GRADIENTS["heads"]())
    assert close(
        block.potential(P.Z), potentials.many_regressions(P.Z, block.theta, block.bias, scale, torch.ones(2).double())
    )


def test_untied_values_take_the_place_of_the_keys_as_values():
    block = filled(CrossAttentionBlock(3, 4, 2, linear_map=False, bias=True, tied=False))
    sigma = (P.Z @ block.theta.mT + block.bias[:, None]).softmax(-1)
    assert close(block.velocity(P.Z), -(sigma @ block.values).sum(0))
    block = filled(SelfAttentionBlock(3, 2, linear_map=False, tied=False, both_reads=False))
    sigma = (P.Z @ block.phi[0] @ block.phi[0].mT @ P.Z.mT).softmax(-1)
    assert close(block.velocity(P.Z), -sigma @ P.Z @ block.value[0] @ block.phi[0].mT)


def test_learned_labels_are_those_of_the_quadratic_flow():
    block = filled(SelfAttentionBlock(3, 2, linear_map=False, labels=6))
    theta = block.phi[0] @ block.phi[0].mT
    assert close(block.velocity(P.Z), flow.quadratic_field(theta, block.C[0])(P.Z))
    one = filled(SelfAttentionBlock(3, 2, linear_map=False, labels=6, both_reads=False))
    assert close(one.velocity(P.Z), one.C[0] @ P.Z @ theta - self_attention(P.Z, one.phi))


def test_the_sign_turns_attention_and_nothing_else():
    for make in (
        lambda weights: CrossAttentionBlock(3, 4, weights=weights),
        lambda weights: CrossAttentionBlock(3, 4, 2, bias=True, weights=weights),
        lambda weights: SelfAttentionBlock(3, 2, labels=6, weights=weights),
    ):
        down, up = filled(make("down")), filled(make("up"))
        rest = P.Z @ down.W + (_labels(down) if hasattr(down, "phi") else 0)
        assert close(down.velocity(P.Z) - rest, rest - up.velocity(P.Z))


def _labels(block):
    theta = block.phi[0] @ block.phi[0].mT
    return (block.C[0] + block.C[0].mT) @ P.Z @ theta


def test_heads_learn_weights_that_start_in_both_directions():
    for block in (CrossAttentionBlock(3, 4, 4, weights="learned"), SelfAttentionBlock(3, 2, heads=4, weights="learned")):
        assert block.weights.tolist() == [1, -1, 1, -1]
        assert block.weights.requires_grad


def test_units_of_the_perceptron_start_in_both_directions():
    block = PerceptronBlock(3, 4)
    assert block.weights.tolist() == [1, -1, 1, -1]
    P32 = P.Z.float()
    each = [w * perceptron(P32, unit[None], "relu") for w, unit in zip(block.weights, block.W, strict=True)]
    assert torch.allclose(block.velocity(P32), -sum(each), atol=1e-6)


@pytest.mark.parametrize("make", [lambda: CrossAttentionBlock(3, 4, h=0.5), lambda: SelfAttentionBlock(3, 2, h=0.5)])
def test_starts_with_the_stated_step_and_without_a_linear_map(make):
    block = make()
    assert abs(block.h - 0.5) < 1e-6
    assert not block.W.any()
    block.W.data.add_(0.1)
    block.float()(P.Z.float()).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in block.parameters())


def test_prototypes_start_with_about_the_stated_norm():
    torch.manual_seed(0)
    assert abs(CrossAttentionBlock(400, 50).theta.norm(dim=-1).mean() - 1) < 0.05
    assert abs(CrossAttentionBlock(400, 50, 2, norm=3.0).theta.norm(dim=-1).mean() - 3) < 0.15
    assert abs(SelfAttentionBlock(400, 50, heads=2).phi.norm(dim=-2).mean() - 1) < 0.05
    assert SelfAttentionBlock(400, 50, heads=2).phi.shape == (2, 400, 50)
    assert abs(PerceptronBlock(400, 50).W.norm(dim=-1).mean() - 1) < 0.05


def test_steps_start_at_one_and_fixed_weights_are_no_part_of_what_is_saved():
    for block in (CrossAttentionBlock(3, 4), SelfAttentionBlock(3, 2), PerceptronBlock(3, 4)):
        assert abs(block.h - 1) < 1e-6
    assert set(CrossAttentionBlock(3, 4, bias=True).state_dict()) == {"log_h", "theta", "bias", "W"}
    assert "weights" in CrossAttentionBlock(3, 4, weights="learned").state_dict()
    assert PerceptronBlock(3, 4).bias.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossAttentionBlock(0, 4), "d is 0"),
        (lambda: CrossAttentionBlock(3, 0), "k is 0"),
        (lambda: SelfAttentionBlock(0, 2), "d is 0"),
        (lambda: SelfAttentionBlock(3, 0), "r is 0"),
        (lambda: SelfAttentionBlock(3, 2, heads=0), "heads is 0"),
        (lambda: CrossAttentionBlock(3, 4, 0), "heads is 0"),
        (lambda: PerceptronBlock(3, 0), "hidden is 0"),
        (lambda: PerceptronBlock(0, 4), "d is 0"),
    ],
)
def test_sizes_below_one_are_refused(make, message):
    with pytest.raises(ValueError, match=f"{message}, expected at least 1"):
        make()


def test_steps_and_weights_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="h is 0, expected a positive step size"):
        CrossAttentionBlock(3, 4, h=0)
    for make in (SelfAttentionBlock, CrossAttentionBlock):
        with pytest.raises(ValueError, match="weights is 'both', expected one of: 'down', 'up', 'learned'"):
            make(3, 4, weights="both")
