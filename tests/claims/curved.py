"""The curvature of regressions on neighbourhoods, measured, and bounds of it."""

import torch
from torch.func import grad, hessian

from claims.neighbourhoods import plain_potential
from imr import convolution


def matrix(kernels, image):
    """Z ↦ θ ⋆ Z as a matrix, column by column, kernels (m, c, rows, columns)."""
    columns = torch.eye(image.numel()).double().reshape(-1, *image.shape)
    padding = (kernels.shape[-2] // 2, kernels.shape[-1] // 2)
    return (
        torch.nn.functional.conv2d(columns, kernels, padding=padding).flatten(1).T
    )


def norm(kernels, image):
    """Its largest singular value."""
    return torch.linalg.matrix_norm(matrix(kernels.flatten(0, 1), image), 2)


def largest_curvature(Z, theta, bias, weights):
    """The largest second derivative at Z in any direction, of either sign."""
    along = lambda z: plain_potential(z.reshape(Z.shape), theta, bias, weights)
    return torch.linalg.eigvalsh(hessian(along)(Z.flatten())).abs().max()


def elementary(theta, weights):
    """m/4 Σ_h |λ_h| times the squared diameter of the head's prototypes."""
    apart = theta.flatten(2)[:, :, None] - theta.flatten(2)[:, None]
    widest = apart.square().sum(-1).amax((-1, -2))
    return theta[0, 0, 0].numel() / 4 * (weights.abs() * widest).sum()


def encloses(kernels, Z):
    """Power iteration from below, the norm, and the norm on the torus above."""
    A, exact = matrix(kernels, Z), norm(kernels[None], Z)
    above = convolution.operator_norm(kernels, *Z.shape[-2:])
    x = torch.ones(Z.numel()).double()
    for _ in range(50):
        x = A.T @ (A @ x)
        x = x / x.norm()
    return bool((A @ x).norm() <= exact * (1 + 1e-12) <= above * (1 + 1e-11))


def climbs(bound, first, weights, Z):
    """Whether a step beyond 2/Λ raises U, and one before it does not.

    Of opposite prototypes ±first (heads, c, rows, columns), from near the tie, in
    the direction of the largest curvature there.
    """
    pairs = torch.stack([first, -first], 1)
    none = torch.zeros(pairs.shape[:2]).double()
    U = lambda Z: plain_potential(Z, pairs, none, weights)
    curved = hessian(lambda z: U(z.reshape(Z.shape)))(0 * Z.flatten())
    direction = torch.linalg.eigh(curved).eigenvectors[:, -1].reshape(Z.shape)
    start = 1e-3 * direction / first.abs().max()
    h, slope = 2 / bound(pairs, weights), grad(U)(start)
    before, after = (U(start - part * h * slope) for part in (0.99, 1.01))
    return bool(before < U(start) < after)
