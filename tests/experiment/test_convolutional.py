import pytest
import torch
import torch.nn.functional as F

from imr.convolution import log_sum_exp_pool
from imr.experiment.convolutional import CONVOLUTIONAL, NAME, Convolutional, ConvolutionalFlow, Lift
from imr.experiment.models import build

X = torch.rand(5, 28, 28, generator=torch.Generator().manual_seed(0))


def make(**options):
    torch.manual_seed(1)
    return ConvolutionalFlow(28, 28, 10, Convolutional(**options))


@pytest.mark.parametrize("mean", [False, True])
def test_the_lift_is_a_convolution_and_then_a_pool(mean):
    lift = Lift(3, mean)
    full = F.conv2d(X[:, None], lift.kernel, lift.bias + 0.3, padding=2)
    with torch.no_grad():
        lift.bias += 0.3
    expected = F.avg_pool2d(full, 2) if mean else log_sum_exp_pool(full, 1.0)
    assert torch.allclose(lift(X), expected, atol=1e-5)


def test_each_iterate_is_a_step_of_its_flow_and_lies_on_the_sphere():
    model = make(steps=(2, 2))
    states = model.iterates(X)
    assert [Z.shape[1:] for Z in states] == [(16, 14, 14)] * 3 + [(24, 7, 7)] * 2
    for Z in states:
        assert torch.allclose(Z.square().mean((1, 2, 3)), torch.ones(5), atol=1e-4)
    for before, after, step in ((states[0], states[1], model.fine[0]), (states[3], states[4], model.coarse[1])):
        moved = before + step.h * step.velocity(before)
        assert torch.allclose(after, moved / moved.square().mean((1, 2, 3), keepdim=True).sqrt(), atol=1e-5)


def test_an_early_iterate_is_read_as_if_there_were_no_steps_left():
    model = make(steps=(2, 1))
    fine, coarse = model.iterates(X)[1], model.iterates(X)[3]
    assert torch.equal(model.read(fine), model.read_out(model.coarsen(fine).flatten(1)))
    assert torch.equal(model.read(coarse), model.read_out(coarse.flatten(1)))
    assert torch.equal(model(X), torch.stack([model.read(Z) for Z in model.iterates(X)]))


def test_what_is_compared_has_the_same_size():
    size = {name: sum(p.numel() for p in build(name, 28, 28, 10).parameters()) for name in CONVOLUTIONAL}
    assert all(abs(n - size[NAME]) < 0.005 * size[NAME] for name, n in size.items() if "self" not in name)
    assert max(size.values()) <= 50_000
    kernels = {name: sum(p.numel() for n, p in build(name, 28, 28, 10).named_parameters() if "theta" in n) for name in size}
    assert len(set(kernels.values())) == 1  # they differ in intercepts and weights of heads alone


def test_without_a_softmax_only_the_length_of_the_image_is_not_linear():
    """Images that sum to zero in every window of the lift's bias: twice the image is the same point of the sphere."""
    model = build(f"{NAME}, no softmax", 28, 28, 10)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.zero_()
    centred = X - 0.286  # the model subtracts the mean of the training images
    assert torch.allclose(model(0.286 + centred), model(0.286 + 2 * centred), atol=1e-4)
    other = build(NAME, 28, 28, 10)
    assert not torch.allclose(other(0.286 + centred), other(0.286 + 2 * centred), atol=1e-2)


def test_self_attention_among_the_places_is_the_last_step():
    model = build(f"{NAME}, self-attention", 28, 28, 10)
    before, after = model.iterates(X)[-2:]
    tokens = before.flatten(2).mT
    moved = model.coarse[-1](tokens).mT.reshape(before.shape)
    assert torch.allclose(after, moved / moved.square().mean((1, 2, 3), keepdim=True).sqrt(), atol=1e-5)


def test_sides_that_cannot_be_halved_twice_are_refused():
    with pytest.raises(ValueError, match="28×30, expected multiples of 4"):
        ConvolutionalFlow(28, 30, 10, Convolutional())
