"""The models of this book, by their names in the records."""

from collections.abc import Callable

from einops import rearrange
from torch import Tensor, nn

from imr.data import CENTRE
from imr.experiment import baselines
from imr.experiment.convolutional import CONVOLUTIONAL, Convolutional, ConvolutionalFlow
from imr.experiment.fixed import FIXED, MANY, REGRESSION, Fixed, FixedRegression, PrototypeRegression
from imr.experiment.interface import Model, MultinomialRegression
from imr.experiment.variants import FLOWS, Flow
from imr.splitting import Splitting


def to_tokens(X: Tensor, patch: int, shift: int = 0) -> Tensor:
    """Cut images (B, height, width) into patch×patch tokens: (B, n, d) with d = patch²; pixels stay pixels.

    With ``shift`` the grid starts that many pixels to the right and below, and wraps around the border.
    """
    return rearrange(X.roll((-shift, -shift), (-2, -1)), "B (r p) (c q) -> B (r c) (p q)", p=patch, q=patch)


def to_images(Z: Tensor, patch: int, height: int, shift: int = 0) -> Tensor:
    """Undo :func:`to_tokens`: features (..., n, d) back to pictures (..., height, width)."""
    X = rearrange(Z, "... (r c) (p q) -> ... (r p) (c q)", r=height // patch, p=patch)
    return X.roll((shift, shift), (-2, -1))


class Baseline(Model):
    """A net (B, 1, height, width) → (B, classes) that has no iterates: its logits stand as those of iterate 0."""

    def __init__(self, net: nn.Module) -> None:
        """Wrap the net."""
        super().__init__()
        self.net = net

    def read(self, Z: Tensor) -> Tensor:
        """Apply the net."""
        return self.net(Z[:, None])


class IteratedBlock(MultinomialRegression):
    """Z⁽⁰⁾ is the image, Z⁽ˡ⁺¹⁾ = block(Z⁽ˡ⁾), and one read-out, multinomial regression, serves every iterate.

    The features stay in pixel space, so that each iterate is a picture.

    Args:
        height, width: of the images, equal, and a multiple of the grid.
        classes: columns of the read-out.
        options: the block.

    Raises:
        ValueError: the grid does not divide the image.
    """

    def __init__(self, height: int, width: int, classes: int, options: Flow) -> None:
        """Make the blocks and the read-out."""
        if height != width or height % options.grid:
            raise ValueError(f"grid is {options.grid}, expected a divisor of the side of a square image, {height}×{width}")
        super().__init__(height, width, classes)
        self.options, self.patch = options, height // options.grid
        number = 1 if options.shared else options.iterates
        self.blocks = nn.ModuleList(options.block(self.patch**2) for _ in range(number))

    def block(self, iterate: int) -> Splitting:
        """The step from an iterate, counted from 0, to the next."""
        return self.blocks[0 if self.options.shared else iterate]

    def tokens(self, Z: Tensor, iterate: int) -> Tensor:
        """Cut an iterate (B, height, width) into the tokens (B, n, d) that its block sees."""
        return to_tokens(Z, self.patch, self._shift(iterate))

    def picture(self, Z: Tensor, iterate: int) -> Tensor:
        """Undo :meth:`tokens`."""
        return to_images(Z, self.patch, self.patch * self.options.grid, self._shift(iterate))

    def iterates(self, X: Tensor) -> list[Tensor]:
        """Map images (B, height, width) to Z⁽⁰⁾ … Z⁽ᴸ⁾, of the same shape, centred."""
        states = [X - CENTRE]
        for iterate in range(self.options.iterates):
            states.append(self.picture(self.block(iterate)(self.tokens(states[-1], iterate)), iterate))
        return states

    def features(self, X: Tensor) -> list[Tensor]:
        """Map images X = Z⁽⁰⁾ to Z⁽⁰⁾ … Z⁽ᴸ⁾ as pictures, each (B, height, width)."""
        return [Z + CENTRE for Z in self.iterates(X)]

    def _shift(self, iterate: int) -> int:
        """By how many pixels the grid is moved."""
        return iterate * (self.patch // 2) % self.patch if self.options.shifted else 0


def build(name: str, height: int, width: int, classes: int) -> Model:
    """Make a model by its name in the records, for images (height, width); raise a ValueError for an unknown name."""
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}, expected one of: {', '.join(MODELS)}")
    return MODELS[name](height, width, classes)


def _flow(options: Flow) -> Callable[[int, int, int], Model]:
    return lambda height, width, classes: IteratedBlock(height, width, classes, options)


def _fixed(options: Fixed) -> Callable[[int, int, int], Model]:
    return lambda height, width, classes: FixedRegression(height, width, classes, options)


def _convolutional(options: Convolutional) -> Callable[[int, int, int], Model]:
    return lambda height, width, classes: ConvolutionalFlow(height, width, classes, options)


def _tokens(make: Callable, **sizes: int) -> Callable[[int, int, int], Model]:
    return lambda height, width, classes: Baseline(make(height, width, classes, patch=height // 4, **sizes))


MODELS: dict[str, Callable[[int, int, int], Model]] = {
    REGRESSION: MultinomialRegression,
    **{name: _flow(options) for name, options in FLOWS.items()},
    f"{MANY} prototypes a class": lambda height, width, classes: PrototypeRegression(height, width, classes, MANY),
    **{name: _fixed(options) for name, options in FIXED.items()},
    **{name: _convolutional(options) for name, options in CONVOLUTIONAL.items()},
    "MLP-128": lambda height, width, classes: Baseline(baselines.perceptron(height, width, classes, hidden=128)),
    "two convolutions": lambda height, width, classes: Baseline(
        baselines.convolutional(height, width, classes, channels=12)
    ),
    "residual net": lambda height, width, classes: Baseline(baselines.residual(height, width, classes, channels=(20, 28))),
    "TransformerEncoder": _tokens(baselines.transformer_encoder, d=32, depth=4, heads=4, hidden=112),
    "SimpleViT": _tokens(baselines.simple_vit, d=32, depth=4, heads=4, hidden=112),
    "CRATE-like": _tokens(baselines.crate, d=72, depth=4, heads=6),
    "energy transformer": _tokens(baselines.energy_transformer, d=96, iterates=4, heads=4, memories=192),
}
"""The models by their names in the records: functions of height, width and number of classes."""
