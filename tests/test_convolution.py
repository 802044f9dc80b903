"""Convolutional cross-attention: against a loop over places, shapes, errors, descent, the norm, pools, the sphere."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad

from imr import attention, convolution, potentials
from imr.convolution import ConvolutionalBlock


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


Z, THETA, BIAS, WEIGHTS = draw(2, 5, 7), draw(3, 4, 2, 3, 5, seed=1) / 4, draw(3, 4, seed=2), draw(3, seed=3)


def looped(Z, theta, bias, weights):
    """Potential and velocity, place by place."""
    rows, columns = theta.shape[-2:]
    padded = F.pad(Z, (columns // 2, columns // 2, rows // 2, rows // 2))
    U, read = 0.0, torch.zeros_like(padded)
    for y in range(Z.shape[-2]):
        for x in range(Z.shape[-1]):
            window = slice(y, y + rows), slice(x, x + columns)
            for kernels, b, weight in zip(theta, bias, weights, strict=True):
                N = (kernels * padded[:, *window]).sum((1, 2, 3)) + b
                U += weight * N.logsumexp(0)
                read[:, *window] += weight * (N.softmax(0)[:, None, None, None] * kernels).sum(0)
    inside = read[:, rows // 2 : rows // 2 + Z.shape[-2], columns // 2 : columns // 2 + Z.shape[-1]]
    return U, inside


def test_potential_and_attention_are_those_of_a_loop_over_places():
    U, read = looped(Z, THETA, BIAS, WEIGHTS)
    torch.testing.assert_close(convolution.potential(Z, THETA, BIAS, WEIGHTS), U, rtol=1e-12, atol=0)
    torch.testing.assert_close(convolution.attention(Z, THETA, BIAS, WEIGHTS), read, rtol=1e-11, atol=1e-12)


def test_without_intercepts_and_weights_they_are_zeros_and_ones():
    zeros, ones = torch.zeros(3, 4).double(), torch.ones(3).double()
    for function in (convolution.potential, convolution.attention):
        torch.testing.assert_close(function(Z, THETA), function(Z, THETA, zeros, ones))


@pytest.mark.parametrize("activation", ["softmax", "identity", "relu", "sigmoid", "gelu"])
def test_attention_is_the_gradient_of_the_potential(activation):
    arguments = THETA, BIAS, WEIGHTS, activation
    gradient = grad(lambda Z: convolution.potential(Z, *arguments))(Z)
    torch.testing.assert_close(convolution.attention(Z, *arguments), gradient, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shapes_and_types_with_any_batch(batch, dtype):
    images, theta = draw(*batch, 2, 5, 7).to(dtype), THETA.to(dtype)
    assert convolution.logits(images, theta).shape == (*batch, 3, 4, 5, 7)
    assert convolution.potential(images, theta).shape == batch
    read = convolution.attention(images, theta)
    assert read.shape == images.shape
    assert read.dtype == convolution.potential(images, theta).dtype == dtype


def test_each_image_of_a_batch_is_alone():
    batch = draw(3, 2, 5, 7)
    for image, U, read in zip(batch, convolution.potential(batch, THETA), convolution.attention(batch, THETA), strict=True):
        torch.testing.assert_close(convolution.potential(image, THETA), U)
        torch.testing.assert_close(convolution.attention(image, THETA), read)


@pytest.mark.parametrize(
    ("image", "theta", "bias", "says"),
    [
        (Z[0], THETA, None, "expected images"),
        (Z, THETA[0], None, "expected images"),
        (Z, THETA[:, :, :1], None, "the same c"),
        (Z, THETA[..., :4], None, "odd size"),
        (Z, THETA[..., :2, :], None, "odd size"),
        (Z, THETA, BIAS[:2], r"bias has shape \(2, 4\)"),
        (Z.long(), THETA, None, "floating"),
    ],
)
def test_what_does_not_fit_is_refused(image, theta, bias, says):
    with pytest.raises(ValueError, match=says):
        convolution.attention(image, theta, bias)


@pytest.mark.parametrize("function", [convolution.potential, convolution.attention])
@pytest.mark.parametrize("weights", [WEIGHTS[:1], torch.ones(4).double(), torch.tensor(1.0).double()])
def test_weights_of_another_shape_are_refused(function, weights):
    with pytest.raises(ValueError, match=r"weights have shape .*expected one for each head, \(3,\)"):
        function(Z, THETA, BIAS, weights)


def test_an_unknown_activation_is_refused():
    for function in (convolution.potential, convolution.attention):
        with pytest.raises(ValueError, match="unknown activation 'tanh', expected one of: softmax, identity"):
            function(Z, THETA, activation="tanh")
    with pytest.raises(ValueError, match="unknown activation"):
        ConvolutionalBlock(2, k=4, activation="tanh")
    with pytest.raises(ValueError, match="no bound is known for the activation 'gelu'"):
        convolution.lipschitz_bound(THETA, 5, 7, activation="gelu")


def exact_norm(kernels, height, width):
    c = kernels.shape[1]
    pixels = torch.eye(c * height * width).double().reshape(-1, c, height, width)
    padding = (kernels.shape[-2] // 2, kernels.shape[-1] // 2)
    return torch.linalg.matrix_norm(F.conv2d(pixels, kernels, padding=padding).flatten(1), 2)


@pytest.mark.parametrize(("height", "width", "above"), [(14, 14, 1.03), (5, 7, 1.2)])
def test_the_norm_is_bounded_from_above_and_closely_for_images_of_some_size(height, width, above):
    for seed in range(3):
        kernels = draw(4, 2, 3, 3, seed=seed)
        ratio = convolution.operator_norm(kernels, height, width) / exact_norm(kernels, height, width)
        assert 1 <= ratio * (1 + 1e-12) < above


def test_power_iteration_comes_from_below():
    kernels, x = draw(6, 3, 3, 3), draw(1, 3, 14, 14, seed=5)
    for _ in range(100):
        x = F.conv_transpose2d(F.conv2d(x, kernels, padding=1), kernels, padding=1)
        x = x / x.norm()
    below = F.conv2d(x, kernels, padding=1).norm()
    assert 0.95 * convolution.operator_norm(kernels, 14, 14) < below <= convolution.operator_norm(kernels, 14, 14)


@pytest.mark.parametrize("activation", sorted(convolution.SLOPES))
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["ones", "of either sign"])
def test_steps_below_the_bound_descend(activation, weights):
    Lambda = convolution.lipschitz_bound(THETA, 5, 7, weights, activation)
    image, before = Z, convolution.potential(Z, THETA, BIAS, weights, activation)
    for part in (0.1, 0.5, 1.0, 1.5, 1.99):
        image = image - part / Lambda * convolution.attention(image, THETA, BIAS, weights, activation)
        after = convolution.potential(image, THETA, BIAS, weights, activation)
        assert after < before
        before = after


def test_the_block_is_one_step_and_learns_all_of_it():
    torch.manual_seed(0)
    block = ConvolutionalBlock(2, k=4, heads=3, h=0.1).double()
    read = convolution.attention(Z, block.theta, block.bias, block.weights)
    torch.testing.assert_close(block(Z), Z - 0.1 * read)
    torch.testing.assert_close(block.velocity(Z), -grad(lambda Z: block.potential(Z))(Z))
    block(Z).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())


def test_the_block_descends_below_the_bound():
    torch.manual_seed(0)
    block = ConvolutionalBlock(2, k=4, heads=3).double()
    Lambda = convolution.lipschitz_bound(block.theta, 5, 7, block.weights)
    with torch.no_grad():
        assert block.potential(Z + 1.99 / Lambda * block.velocity(Z)) < block.potential(Z)


@pytest.mark.parametrize("sizes", [(0, 4), (2, 0), (2, 4, 0), (2, 4, 1, 2), (2, 4, 1, -1)])
def test_sizes_of_a_block(sizes):
    with pytest.raises(ValueError, match="expected at least 1, and an odd kernel"):
        ConvolutionalBlock(*sizes)


def test_a_pool_is_the_log_of_a_mean_of_exponentials():
    image = draw(3, 2, 4, 6)
    for scale in (0.5, torch.tensor(0.5).double(), torch.tensor([0.5, 2.0]).double()):
        factor = scale[:, None, None] if isinstance(scale, torch.Tensor) and scale.ndim else scale
        right = F.avg_pool2d((factor * image).exp(), 2).log() / factor
        torch.testing.assert_close(convolution.log_sum_exp_pool(image, scale), right, rtol=1e-12, atol=1e-13)
    assert convolution.log_sum_exp_pool(draw(1, 9, 9), 1.0, size=3).shape == (1, 3, 3)


def test_a_pool_is_between_mean_and_maximum_also_for_large_numbers():
    image = 1e4 * draw(1, 4, 4)
    mean, most = F.avg_pool2d(image, 2), F.max_pool2d(image, 2)
    for scale in (1e-3, 1.0, 1e3):
        pool = convolution.log_sum_exp_pool(image, scale)
        assert (mean <= pool).all() and (pool <= most).all()
        assert (pool >= most - math.log(4) / scale - 1e-9).all()


@pytest.mark.parametrize(
    ("shape", "scale", "says"),
    [
        ((1, 4, 5), 1.0, "multiples of the window, 2"),
        ((1, 5, 4), 1.0, "multiples of the window, 2"),
        ((4, 4), 1.0, "expected .*height, width"),
        ((1, 4, 4), 0.0, "expected a positive number"),
        ((1, 4, 4), torch.ones(3), "one for each channel"),
    ],
)
def test_a_pool_that_does_not_fit_is_refused(shape, scale, says):
    with pytest.raises(ValueError, match=says):
        convolution.log_sum_exp_pool(draw(*shape), scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_on_the_sphere_the_root_mean_square_is_one(dtype):
    images = (torch.tensor([1e-6, 1.0, 1e6])[:, None, None, None] * draw(3, 2, 5, 7)).to(dtype)
    on = convolution.on_sphere(images)
    assert on.dtype == dtype
    tolerance = {torch.float32: 1e-6, torch.float64: 1e-14, torch.bfloat16: 1e-2}[dtype]
    torch.testing.assert_close(on.double().square().mean((1, 2, 3)).sqrt(), torch.ones(3).double(), rtol=tolerance, atol=0)
    assert (convolution.on_sphere(torch.zeros(1, 2, 2, dtype=dtype)) == 0).all()


def test_neighbourhoods_in_rows_are_the_tokens_of_many_regressions():
    tokens = F.unfold(Z[None], (3, 5), padding=(1, 2))[0].T
    heads = {"theta": THETA.flatten(2), "bias": BIAS, "weights": WEIGHTS}
    tolerance = {"rtol": 1e-12, "atol": 1e-12}
    U = convolution.potential(Z, THETA, BIAS, WEIGHTS)
    torch.testing.assert_close(U, potentials.many_regressions(tokens, **heads), **tolerance)
    read = attention.multi_head_cross_attention(tokens, **heads).T[None]
    added_up = F.fold(read, (5, 7), (3, 5), padding=(1, 2))[0]
    torch.testing.assert_close(convolution.attention(Z, THETA, BIAS, WEIGHTS), added_up, **tolerance)


def test_two_prototypes_of_which_one_is_zero_are_a_sigmoid_unit():
    two = torch.stack([THETA, 0 * THETA], 2).flatten(0, 1)  # (12, 2, c, rows, columns)
    bias = torch.stack([BIAS, 0 * BIAS], -1).flatten(0, 1)
    weights = WEIGHTS.repeat_interleave(4)
    units = convolution.attention(Z, THETA, BIAS, WEIGHTS, "sigmoid")
    torch.testing.assert_close(convolution.attention(Z, two, bias, weights), units)
    U = convolution.potential(Z, THETA, BIAS, WEIGHTS, "sigmoid")
    torch.testing.assert_close(convolution.potential(Z, two, bias, weights), U)


@pytest.mark.parametrize("activation", sorted(convolution.SLOPES))
def test_differences_of_the_field_do_not_exceed_the_bound(activation):
    Lambda = convolution.lipschitz_bound(THETA, 5, 7, WEIGHTS, activation)
    field = lambda Z: convolution.attention(Z, THETA, BIAS, WEIGHTS, activation)
    for seed, size in enumerate((1e-3, 0.1, 1.0, 10.0) * 5):
        other = Z + size * draw(2, 5, 7, seed=seed)
        assert (field(Z) - field(other)).norm() <= Lambda * (Z - other).norm()
    torch.testing.assert_close(convolution.lipschitz_bound(THETA, 5, 7, -4 * WEIGHTS, activation), 4 * Lambda)


def test_what_the_prototypes_of_a_head_have_in_common_does_not_count_under_a_softmax():
    moved, bound = THETA + draw(3, 1, 2, 3, 5, seed=9), convolution.lipschitz_bound
    torch.testing.assert_close(bound(moved, 5, 7), bound(THETA, 5, 7))
    assert bound(moved, 5, 7, activation="relu") > 1.1 * bound(THETA, 5, 7, activation="relu")


def test_large_logits_do_not_overflow():
    large, heads = 1e4 * Z.float(), [X.float() for X in (THETA, BIAS, WEIGHTS)]
    assert convolution.attention(large, *heads).isfinite().all()
    assert convolution.potential(large, *heads).isfinite()


def test_kernels_start_with_about_the_norm_that_is_asked_for():
    torch.manual_seed(0)
    block = ConvolutionalBlock(16, 8, heads=8, size=5, norm=3.0)
    assert block.theta.shape == (8, 8, 16, 5, 5) and block.bias.abs().max() == 0
    assert block.theta.detach().flatten(2).norm(dim=-1).mean().item() == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize("size", [0, -2])
def test_a_window_has_at_least_one_pixel(size):
    with pytest.raises(ValueError, match="multiples of the window"):
        convolution.log_sum_exp_pool(draw(1, 4, 4), 1.0, size)
