"""The convolutional flow: images are lifted to channels, stepped by attention of neighbourhoods, coarsened, and read."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imr.blocks import EulerStep, SelfAttentionBlock
from imr.convolution import ConvolutionalBlock, log_sum_exp_pool, on_sphere
from imr.data import CENTRE
from imr.experiment.interface import Model

SPREAD = 0.353  # of the pixels of Fashion-MNIST, about their mean


@dataclass(frozen=True)
class Convolutional:
    """Every choice of the convolutional flow.

    Args:
        channels: of the features at half and at a quarter of the image's side.
        steps: of attention at each of them.
        heads, prototypes: of each step; their product fixes its parameters.
        activation: "softmax", or what stands in its place :func:`imr.convolution.potential`.
        pool: "log-sum-exp", or "mean", which has no softmax for a gradient.
        self_heads: heads of self-attention among the places of the coarse image, after its steps; 0 for none.
        rank: of each of these heads.
    """

    channels: tuple[int, int] = (16, 24)
    steps: tuple[int, int] = (2, 1)
    heads: int = 8
    prototypes: int = 8
    activation: str = "softmax"
    pool: Literal["log-sum-exp", "mean"] = "log-sum-exp"
    self_heads: int = 0
    rank: int = 16


class Pool(nn.Module):
    """Windows 2×2 to one number, by :func:`imr.convolution.log_sum_exp_pool` with a learned scale for each channel."""

    def __init__(self, channels: int) -> None:
        """Start with the scale 2."""
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((channels,), 2.0).log())

    def forward(self, Z: Tensor) -> Tensor:
        """Map images (B, channels, height, width) to images of half the side."""
        return log_sum_exp_pool(Z, self.log_scale.exp())


class Lift(nn.Module):
    """A convolution 5×5 from pixels to channels, a linear map, then pooling with the scale 1, which its weights absorb.

    Both at once: the four kernels that a window sees are four shifts of one, so a convolution with stride 2 has all that is
    pooled side by side, and no image of full size in every channel is ever made.
    """

    def __init__(self, channels: int, mean: bool) -> None:
        """Draw kernels of norm about 2."""
        super().__init__()
        self.kernel = nn.Parameter(0.24 * torch.randn(channels, 1, 5, 5))
        self.bias, self.mean = nn.Parameter(torch.zeros(channels)), mean

    def forward(self, X: Tensor) -> Tensor:
        """Map images (B, height, width) to (B, channels, height/2, width/2)."""
        shifted = [F.pad(self.kernel, (j, 1 - j, i, 1 - i)) for i in (0, 1) for j in (0, 1)]
        N = F.conv2d(X[:, None], torch.cat(shifted), self.bias.repeat(4), stride=2, padding=2).unflatten(1, (4, -1))
        return N.mean(1) if self.mean else N.logsumexp(1) - torch.tensor(4.0).log()


class ConvolutionalFlow(Model):
    """Z⁽⁰⁾ is the lifted image; each step is one of attention, and a retraction to the sphere; one read-out serves all.

    An iterate at half the side is read as if the steps that are left were not there: it is coarsened, and read.

    Args:
        height, width: of the images, multiples of 4.
        classes: columns of the read-out.
        options: the flow.

    Raises:
        ValueError: the sides are no multiples of 4.
    """

    def __init__(self, height: int, width: int, classes: int, options: Convolutional) -> None:
        """Make lift, steps and read-out."""
        if height % 4 or width % 4:
            raise ValueError(f"the image is {height}×{width}, expected multiples of 4: it is pooled twice")
        super().__init__()
        fine, coarse = options.channels
        mean = options.pool == "mean"
        self.options, self.side = options, height // 4
        self.lift, self.pool = Lift(fine, mean), nn.AvgPool2d(2) if mean else Pool(fine)
        self.linear_map = nn.Conv2d(fine, coarse, 1)
        self.fine = nn.ModuleList(self._step(fine) for _ in range(options.steps[0]))
        self.coarse = nn.ModuleList(self._step(coarse) for _ in range(options.steps[1]))
        if options.self_heads:
            own = {"linear_map": False, "scale": options.rank**-0.5, "h": 0.1}
            self.coarse.append(SelfAttentionBlock(coarse, options.rank, options.self_heads, weights="learned", **own))
        self.read_out = nn.Linear(coarse * (height // 4) * (width // 4), classes)

    def _step(self, channels: int) -> EulerStep:
        return ConvolutionalBlock(channels, self.options.prototypes, self.options.heads, activation=self.options.activation)

    def iterates(self, X: Tensor) -> list[Tensor]:
        """Map images (B, height, width) to Z⁽⁰⁾ … Z⁽ᴸ⁾, (B, channels, rows, columns)."""
        states = [on_sphere(self.lift((X - CENTRE) / SPREAD))]
        for step in self.fine:
            states.append(on_sphere(step(states[-1])))
        Z = self.coarsen(states[-1])
        for step in self.coarse:
            Z = on_sphere(_among_places(step, Z) if isinstance(step, SelfAttentionBlock) else step(Z))
            states.append(Z)
        return states

    def coarsen(self, Z: Tensor) -> Tensor:
        """Map features at half the side to features at a quarter: pool, and map channels to more of them."""
        return on_sphere(self.linear_map(self.pool(Z)))

    def read(self, Z: Tensor) -> Tensor:
        """Map one state to logits (B, classes)."""
        return self.read_out((Z if Z.shape[-2] == self.side else self.coarsen(Z)).flatten(1))


def _among_places(step: SelfAttentionBlock, Z: Tensor) -> Tensor:
    """A step among the places (B, places, channels) of an image."""
    return step(Z.flatten(2).mT).mT.unflatten(2, Z.shape[2:])


BASE = Convolutional()
NAME = "convolutional block"
CONVOLUTIONAL: dict[str, Convolutional] = {
    NAME: BASE,
    f"{NAME}, identity": replace(BASE, activation="identity", heads=64, prototypes=1),
    f"{NAME}, no softmax": replace(BASE, activation="identity", heads=64, prototypes=1, pool="mean"),
    f"{NAME}, ReLU": replace(BASE, activation="relu", heads=64, prototypes=1),
    **{f"{NAME}, k = {k}": replace(BASE, heads=64 // k, prototypes=k) for k in (2, 4, 16, 64)},
    f"{NAME}, self-attention": replace(BASE, self_heads=4),
}
"""The convolutional block and what is compared with it at equal parameters, by their names in the records."""
