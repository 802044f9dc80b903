import itertools

import pytest
import torch

from imr import data
from imr.data import CENTRE
from imr.experiment.convolutional import SPREAD
from imr.experiment.interface import MultinomialRegression
from imr.experiment.models import MODELS, IteratedBlock, build, to_images, to_tokens
from imr.experiment.variants import Flow


def test_tokens_and_images_are_inverse():
    X = torch.arange(2 * 8 * 8.0).reshape(2, 8, 8)
    Z = to_tokens(X, patch=4)
    assert Z.shape == (2, 4, 16)
    assert torch.equal(Z[0, 1], X[0, :4, 4:].flatten())
    assert torch.equal(to_images(Z, 4, 8), X)
    moved = to_tokens(X, patch=4, shift=2)
    assert torch.equal(moved[0, 0], X[0, 2:6, 2:6].flatten())
    assert torch.equal(to_images(moved, 4, 8, shift=2), X)


@pytest.mark.parametrize("shared", [True, False])
def test_the_block_is_iterated_each_time_on_another_grid(shared):
    model = IteratedBlock(14, 14, 10, Flow(grid=2, shared=shared, iterates=3, cross_heads=2, prototypes=3))
    X = torch.rand(5, 14, 14)
    pictures = model.features(X)
    assert len(pictures) == 4
    assert len(model.blocks) == (1 if shared else 3)
    for iterate, (before, after) in enumerate(itertools.pairwise(pictures)):
        shift, block = (0, 3, 6)[iterate], model.blocks[0 if shared else iterate]
        expected = to_images(block(to_tokens(before - CENTRE, 7, shift)), 7, 14, shift) + CENTRE
        assert torch.allclose(after, expected, atol=1e-6)
    assert torch.equal(model(X)[0], model.read_out(X.flatten(1) - CENTRE))
    assert model(X).shape == (4, 5, 10)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("side", [8, 28])
def test_every_model_reads_images_at_every_iterate(name, side):
    model = build(name, side, side, 10)
    logits = model(torch.rand(3, side, side))
    assert logits.shape[1:] == (3, 10)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def test_multinomial_regression_has_the_parameters_of_one():
    assert sum(p.numel() for p in MultinomialRegression(28, 28, 10).parameters()) == 7850


@pytest.mark.fashion_mnist
def test_pixels_are_centred_by_the_mean_of_the_training_images_and_scaled_by_their_spread():
    X = data.load("fashion-mnist").train.X
    assert abs(X.mean() - CENTRE) < 0.002 and abs(X.std() - SPREAD) < 0.002


def test_the_grid_must_divide_the_image():
    with pytest.raises(ValueError, match="grid is 3, expected a divisor of the side of a square image, 8×8"):
        IteratedBlock(8, 8, 10, Flow(grid=3, cross_heads=1))


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(ValueError, match=f"unknown model 'cnn', expected one of: {', '.join(MODELS)}"):
        build("cnn", 8, 8, 10)
