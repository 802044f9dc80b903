import pytest
import torch
from strategies import Problem, close
from test_blocks import filled

from imr.blocks import CrossAttentionBlock, PerceptronBlock, SelfAttentionBlock
from imr.splitting import Splitting

P = Problem(n=6, d=3, k=4, r=2)
SELF = lambda: SelfAttentionBlock(3, 2, heads=2, linear_map=False, scale=0.7)
CROSS = lambda: CrossAttentionBlock(3, 4, linear_map=False, scale=0.7)
PERCEPTRON = lambda: PerceptronBlock(3, 5)


@pytest.mark.parametrize("scheme", ["lie", "strang"])
def test_a_splitting_steps_the_parts_one_after_another(scheme):
    parts = [filled(make()) for make in (SELF, CROSS, PERCEPTRON)]
    A, B, C = parts
    expected = {"lie": C(B(A(P.Z))), "strang": A(B(C(B(A(P.Z, 0.5), 0.5)), 0.5), 0.5)}
    assert close(Splitting(parts, scheme)(P.Z), expected[scheme])


def test_a_normalised_iterate_has_tokens_of_one_root_mean_square():
    Z = Splitting([filled(CrossAttentionBlock(3, 4))], normalise=True)(P.Z)
    assert close(Z.square().mean(-1), torch.ones(6).double())
    batch = P.draw(2, 6, 3, salt=61)
    normal = Splitting([filled(CrossAttentionBlock(3, 4))], normalise=True)(batch)
    assert close(normal.square().mean(-1), torch.ones(2, 6).double())


def test_splittings_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match="unknown splitting 'euler', expected 'lie' or 'strang'"):
        Splitting([CrossAttentionBlock(3, 4)], "euler")
    with pytest.raises(
        ValueError, match=r"^a splitting of no parts, expected at least one: attention, a perceptron, or both$"
    ):
        Splitting([])
