from imr.blocks import CrossAttentionBlock, PerceptronBlock, SelfAttentionBlock
from imr.experiment.variants import Flow


def test_every_switch_of_the_flow_reaches_its_block():
    def parts(**options):
        return list(Flow(**options).block(49).parts)

    attention, unit = parts(self_heads=2, rank=4, hidden=5, linear_map=True, both_reads=False, tied=False, weights="up")
    assert isinstance(attention, SelfAttentionBlock) and isinstance(unit, PerceptronBlock)
    assert attention.phi.shape == (2, 49, 4) and attention.C.shape == (2, 16, 16) and attention.W.shape == (49, 49)
    assert attention.scale == 0.5 and attention.weights.tolist() == [-1, -1] and not attention.both_reads
    assert attention.value is not None
    first, second = parts(self_heads=1, labels=False, cross_heads=3, prototypes=5, linear_map=True)
    assert first.C is None and isinstance(second, CrossAttentionBlock)
    assert second.theta.shape == (3, 5, 49) and second.W is None and second.values is None
    assert second.bias.shape == (3, 5) and second.weights.tolist() == [1, 1, 1]
    assert 2 < second.theta.norm(dim=-1).mean() < 4
    (plain,) = parts(cross_heads=1, prototypes=50, bias=False, norm=1.0, weights="learned", linear_map=True)
    assert plain.bias is None and plain.weights.requires_grad and plain.W.shape == (49, 49)
    assert 0.9 < plain.theta.norm(dim=-1).mean() < 1.1
    assert Flow(cross_heads=2, splitting="strang", normalise=True).block(49).scheme == "strang"
    assert Flow(cross_heads=2, normalise=True).block(49).normalise
