"""Every picture of the book and of the reports. Functions return a closed ``Figure``: show it, or save it."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito: safe for colour-blind eyes
MARKERS = "osD^vP"


def iterates(Z: Tensor, names: Sequence[str], title: str = "") -> Figure:
    """Draw the iterates of several images, and under each its difference to Z⁽⁰⁾ (red lighter, blue darker).

    Args:
        Z: (images, L + 1, height, width), pixels.
        names: one for each image.
        title: above the figure.
    """
    figure = plt.figure(figsize=(1.25 * Z.shape[1] + 0.6, 2.6 * Z.shape[0]), layout="constrained")
    plt.close(figure)
    figure.suptitle(title)
    _draw_iterates(figure, Z, names)
    return figure


def overview(Z: Tensor, names: Sequence[str], records: pd.DataFrame) -> Figure:
    """Draw :func:`iterates` on the left and accuracy against the iterate from the records on the right."""
    figure = plt.figure(figsize=(1.1 * Z.shape[1] + 5, 2.0 * Z.shape[0] + 0.8), layout="constrained")
    plt.close(figure)
    left, right = figure.subfigures(1, 2, width_ratios=[1.1 * Z.shape[1], 5])
    _draw_iterates(left, Z, names)
    _draw_accuracy(right.subplots(), records)
    return figure


def losses(curves: dict[str, Sequence[float]], xlabel: str, ylabel: str) -> Figure:
    """Draw named sequences against their index."""
    figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    plt.close(figure)
    for (name, values), colour, marker in zip(curves.items(), COLOURS, MARKERS, strict=False):
        ax.plot(values, color=colour, marker=marker, markevery=max(1, len(values) // 10), label=name)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(alpha=0.3)
    ax.legend()
    return figure


def _draw_iterates(figure: Figure, Z: Tensor, names: Sequence[str]) -> None:
    Z = Z.numpy()
    change = Z - Z[:, :1]
    limit = abs(change).max() or 1.0
    axes = figure.subplots(2 * len(Z), Z.shape[1], squeeze=False)
    for image, name in enumerate(names):
        for iterate in range(Z.shape[1]):
            above, below = axes[2 * image, iterate], axes[2 * image + 1, iterate]
            above.imshow(Z[image, iterate], cmap="gray", vmin=0, vmax=1)
            difference = below.imshow(change[image, iterate], cmap="RdBu_r", vmin=-limit, vmax=limit)
            above.set_title(f"$Z^{{({iterate})}}$" if image == 0 else "", fontsize=10)
        axes[2 * image, 0].set_ylabel(name.replace(", ", "\n"), fontsize=9)
        axes[2 * image + 1, 0].set_ylabel("change", fontsize=9)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    figure.colorbar(difference, ax=axes, location="bottom", shrink=0.6, aspect=40, label="difference to $Z^{(0)}$")


def _draw_accuracy(ax: Axes, records: pd.DataFrame) -> None:
    for (sigma, group), colour, marker in zip(records.groupby("test_noise"), COLOURS, MARKERS, strict=False):
        for _, rows in group.groupby("model"):
            mean = 100 * rows.groupby("iterate")["accuracy"].mean()
            if len(mean) > 1:
                ax.plot(mean.index, mean, color=colour, marker=marker, label=f"σ = {sigma:g}")
            else:
                ax.axhline(mean.iloc[0], color=colour, linestyle="--")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="iterate", ylabel="accuracy (%)", title="solid: iterated block\ndashed: multinomial regression")
    ax.title.set_fontsize(10)
    ax.grid(alpha=0.3)
    ax.legend(title="noise", loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)
