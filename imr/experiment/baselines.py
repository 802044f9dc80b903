"""What the block is compared with: nets (B, 1, height, width) → (B, classes) that are no gradient flow."""

import torch
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from imr.vision import import_torchvision


def perceptron(height: int, width: int, classes: int, hidden: int) -> nn.Module:
    """One hidden layer of ReLU units on the pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(height * width, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def convolutional(height: int, width: int, classes: int, channels: int) -> nn.Module:
    """Two 3×3 convolutions, each with ReLU and 2×2 maximum pooling, and a linear read-out."""
    return nn.Sequential(
        *(nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(2 * channels * (height // 4) * (width // 4), classes)),
    )


class Position(nn.Module):
    """Add a learned vector to each token."""

    def __init__(self, n: int, d: int) -> None:
        """Make n vectors of d entries, small."""
        super().__init__()
        self.vectors = nn.Parameter(0.02 * torch.randn(n, d))

    def forward(self, Z: Tensor) -> Tensor:
        """Map tokens (B, n, d) to tokens of the same shape."""
        return Z + self.vectors


class Mean(nn.Module):
    """The mean token."""

    def forward(self, Z: Tensor) -> Tensor:
        """Map tokens (B, n, d) to their mean (B, d)."""
        return Z.mean(1)


def transformer_encoder(
    height: int, width: int, classes: int, patch: int, d: int, depth: int, heads: int, hidden: int
) -> nn.Module:
    """``torch.nn.TransformerEncoder`` on embedded patches, normalised first, with learned positions and mean pooling."""
    layer = nn.TransformerEncoderLayer(d, heads, hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    return nn.Sequential(
        Rearrange("B 1 (r p) (c q) -> B (r c) (p q)", p=patch, q=patch),
        nn.Linear(patch**2, d),
        Position((height // patch) * (width // patch), d),
        nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(d), enable_nested_tensor=False),
        Mean(),
        nn.Linear(d, classes),
    )


def simple_vit(height: int, width: int, classes: int, patch: int, d: int, depth: int, heads: int, hidden: int) -> nn.Module:
    """vit-pytorch's ``SimpleViT``: fixed sine positions, mean pooling."""
    import_torchvision()  # which vit-pytorch imports, and cannot where it was built for CUDA and torch was not
    from vit_pytorch import SimpleViT

    return SimpleViT(
        image_size=(height, width),
        patch_size=patch,
        num_classes=classes,
        dim=d,
        depth=depth,
        heads=heads,
        dim_head=d // heads,
        mlp_dim=hidden,
        channels=1,
    )
