"""What the block is compared with: nets (B, 1, height, width) → (B, classes) that are no gradient flow."""

import torch
import torch.nn.functional as F
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


def residual(height: int, width: int, classes: int, channels: tuple[int, int]) -> nn.Module:
    """A small residual net: two blocks at half the side, one at a quarter, batch-normalised, and a linear read-out."""
    first, second = channels
    return nn.Sequential(
        *(nn.Conv2d(1, first, 5, padding=2, bias=False), nn.BatchNorm2d(first), nn.ReLU(), nn.MaxPool2d(2)),
        *(ResidualBlock(first), ResidualBlock(first), nn.MaxPool2d(2), nn.Conv2d(first, second, 1), ResidualBlock(second)),
        *(nn.Flatten(), nn.Linear(second * (height // 4) * (width // 4), classes)),
    )


class ResidualBlock(nn.Module):
    """Z + two 3×3 convolutions, each after batch normalisation and ReLU :cite:`he2016identity`."""

    def __init__(self, channels: int) -> None:
        """Make both convolutions."""
        super().__init__()
        self.change = nn.Sequential(
            *(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1, bias=False)),
            *(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1, bias=False)),
        )

    def forward(self, Z: Tensor) -> Tensor:
        """Map images (B, channels, height, width) to images of the same shape."""
        return Z + self.change(Z)


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
    encoder = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(d), enable_nested_tensor=False)
    return _on_patches(height, width, classes, patch, d, encoder)


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


def crate(height: int, width: int, classes: int, patch: int, d: int, depth: int, heads: int) -> nn.Module:
    """White-box blocks :cite:`yu2023crate` on embedded patches, with learned positions and mean pooling."""
    blocks = [block for _ in range(depth) for block in (SubspaceAttention(d, heads), SparseStep(d))]
    return _on_patches(height, width, classes, patch, d, *blocks, nn.LayerNorm(d))


class SubspaceAttention(nn.Module):
    """Z + Σ_h σ(ZU_h(ZU_h)ᵀ/√r) ZU_h U_hᵀ on normalised tokens: queries, keys and values are one, and read back by U_h."""

    def __init__(self, d: int, heads: int) -> None:
        """Make bases of rank d/heads."""
        super().__init__()
        self.norm, self.U = nn.LayerNorm(d), nn.Parameter(d**-0.5 * torch.randn(heads, d, d // heads))

    def forward(self, Z: Tensor) -> Tensor:
        """Map tokens (B, n, d) to tokens of the same shape."""
        return Z + _read(*[torch.einsum("Bnd,hdr->Bhnr", self.norm(Z), self.U)] * 3, self.U)


class SparseStep(nn.Module):
    """relu(Z + η(Z − ZD)Dᵀ − ηλ) on normalised tokens, one proximal step towards a sparse code in the dictionary Dᵀ."""

    def __init__(self, d: int, step: float = 0.1, penalty: float = 0.1) -> None:
        """Make the dictionary (d, d)."""
        super().__init__()
        self.norm, self.D = nn.LayerNorm(d), nn.Parameter(d**-0.5 * torch.randn(d, d))
        self.step, self.penalty = step, penalty

    def forward(self, Z: Tensor) -> Tensor:
        """Map tokens (B, n, d) to tokens of the same shape."""
        Z = self.norm(Z)
        return F.relu(Z + self.step * ((Z - Z @ self.D) @ self.D.mT - self.penalty))


def energy_transformer(
    height: int, width: int, classes: int, patch: int, d: int, iterates: int, heads: int, memories: int
) -> nn.Module:
    """One energy block iterated :cite:`hoover2023energy` on embedded patches, with learned positions and mean pooling."""
    return _on_patches(height, width, classes, patch, d, EnergyBlock(d, iterates, heads, memories), nn.LayerNorm(d))


class EnergyBlock(nn.Module):
    """Z ← Z − α ∂E/∂G, G = norm(Z), E = −Σ_h Σᵢ LSE_{j≠i}(β ⟨q_i, k_j⟩)/β − ½ Σ relu(Gξᵀ)²: attention and a Hopfield net."""

    def __init__(self, d: int, iterates: int, heads: int, memories: int, alpha: float = 0.1) -> None:
        """Make queries, keys of rank d/heads, and memories; all iterates share them."""
        super().__init__()
        self.norm, self.iterates, self.alpha = nn.LayerNorm(d), iterates, alpha
        self.Q, self.K = (nn.Parameter(d**-0.5 * torch.randn(heads, d, d // heads)) for _ in "QK")
        self.memories = nn.Parameter(d**-0.5 * torch.randn(memories, d))

    def forward(self, Z: Tensor) -> Tensor:
        """Map tokens (B, n, d) to tokens of the same shape."""
        others = ~torch.eye(Z.shape[-2], dtype=torch.bool, device=Z.device)
        for _ in range(self.iterates):
            G = self.norm(Z)
            q, k = (torch.einsum("Bnd,hdr->Bhnr", G, W) for W in (self.Q, self.K))
            sigma = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~others, -torch.inf).softmax(-1)
            as_query = torch.einsum("Bhnr,hdr->Bnd", sigma @ k, self.Q)
            as_key = torch.einsum("Bhnr,hdr->Bnd", sigma.mT @ q, self.K)
            Z = Z + self.alpha * (as_query + as_key + F.relu(G @ self.memories.mT) @ self.memories)
        return Z


def _read(Q: Tensor, K: Tensor, V: Tensor, back: Tensor) -> Tensor:
    return torch.einsum("Bhnr,hdr->Bnd", F.scaled_dot_product_attention(Q, K, V), back)


def _on_patches(height: int, width: int, classes: int, patch: int, d: int, *blocks: nn.Module) -> nn.Module:
    return nn.Sequential(
        Rearrange("B 1 (r p) (c q) -> B (r c) (p q)", p=patch, q=patch),
        nn.Linear(patch**2, d),
        Position((height // patch) * (width // patch), d),
        *blocks,
        Mean(),
        nn.Linear(d, classes),
    )
