"""Every picture of the book and of the reports. Functions return a closed ``Figure``: show it, or save it."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import torch
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
    figure = _closed(1.25 * Z.shape[1] + 0.6, 2.6 * Z.shape[0])
    figure.suptitle(title)
    _draw_iterates(figure, Z, names)
    return figure


def overview(Z: Tensor, names: Sequence[str], records: pd.DataFrame, baseline: str = "multinomial regression") -> Figure:
    """Draw :func:`iterates` on the left and on the right accuracy against the iterate from the records of one regime."""
    figure = _closed(1.1 * Z.shape[1] + 5, 2.0 * Z.shape[0] + 0.8)
    left, right = figure.subfigures(1, 2, width_ratios=[1.1 * Z.shape[1], 5])
    _draw_iterates(left, Z, names)
    ax = right.subplots()
    _draw_accuracy(ax, records, baseline)
    ax.set_title("solid: the block\ndashed: multinomial regression", fontsize=10)
    ax.legend(title="test noise", loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
    return figure


def accuracy(records: pd.DataFrame, baseline: str = "multinomial regression") -> Figure:
    """Draw accuracy against the iterate for each test noise, a panel for each training regime.

    Args:
        records: of ``results.json``: one model with iterates, and the baseline (dashed) if it was run. Bars and bands are
            standard deviations over the seeds.
        baseline: name of the model without iterates.
    """
    regimes = sorted(records["train_noise"].unique())
    figure = _closed(4.6 * len(regimes), 4)
    axes = figure.subplots(1, len(regimes), sharey=True, squeeze=False)
    for ax, regime in zip(axes.flat, regimes, strict=True):
        _draw_accuracy(ax, records[records["train_noise"] == regime], baseline)
        ax.set_title(f"trained with noise, σ ≤ {regime:g}" if regime else "trained on clean images", fontsize=10)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), title="test noise", loc="outside lower center", ncols=6)
    return figure


def descent(rows: Sequence[dict]) -> Figure:
    """Draw the mean potential before and after each step of :func:`imr.experiment.evaluation.descent`."""
    figure = _closed(7, 3.4)
    ax = figure.subplots()
    parts = list(dict.fromkeys(row["part"] for row in rows))
    for place, row in enumerate(rows):
        which = parts.index(row["part"])
        first = place == next(i for i, r in enumerate(rows) if r["part"] == row["part"])
        change = row["after"] - row["before"]
        ax.bar(place, change, color=COLOURS[which], hatch="/."[which % 2] * 2, label=row["part"] if first else None)
        ax.annotate(
            f"{100 * row['falls']:.0f}%",
            (place, min(change, 0)),
            (0, -3),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=9,
        )
    ax.axhline(0, color="0.4", linewidth=0.8)
    ax.set_xticks(range(len(rows)), [f"iterate {row['iterate']}" for row in rows], fontsize=8)
    ax.margins(y=0.15)
    ax.set(ylabel="mean change of the potential (nats)", title="per cent: images for which it falls")
    ax.title.set_fontsize(10)
    ax.legend()
    return figure


def class_changes(changes: Tensor, classes: Sequence[str]) -> Figure:
    """Draw the mean change of each class's images, (classes, height, width): red lighter, blue darker."""
    figure = _closed(8, 4)
    axes = figure.subplots(2, -(-len(classes) // 2))
    limit = changes.abs().max().item() or 1.0
    for ax, change, name in zip(axes.flat, changes.numpy(), classes, strict=False):
        shown = ax.imshow(change, cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set_title(name, fontsize=9)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes, shrink=0.8, label="mean of $Z^{(L)} - Z^{(0)}$")
    return figure


def confusion(matrices: dict[str, Tensor], classes: Sequence[str]) -> Figure:
    """Draw confusion matrices side by side: rows are true classes, in per cent of the row."""
    figure = _closed(5 * len(matrices), 5)
    axes = figure.subplots(1, len(matrices), sharey=True, squeeze=False)
    for ax, (name, counts) in zip(axes.flat, matrices.items(), strict=True):
        per_cent = 100 * counts / counts.sum(1, keepdim=True)
        ax.imshow(per_cent.numpy(), cmap="Blues", vmin=0, vmax=100)
        for row, column in per_cent.round().nonzero().tolist():
            value = per_cent[row, column].item()
            ax.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color="w" if value > 50 else "k")
        ax.set_xticks(range(len(classes)), classes, rotation=60, ha="right", fontsize=8)
        ax.set_yticks(range(len(classes)), classes, fontsize=8)
        ax.set(xlabel="predicted", title=name)
    axes.flat[0].set_ylabel("true")
    return figure


def frontier(points: pd.DataFrame, ours: Sequence[str]) -> Figure:
    """Draw accuracy against parameters and against seconds of training: a number with its interval for each model.

    Args:
        points: of :func:`imr.experiment.report.costs`, the models in its index.
        ours: the models of the theory, drawn as squares; the others are circles. The line joins those that no model beats at
            less cost.
    """
    points = points.sort_values("mean", ascending=False)
    figure = _closed(10, 4.4)
    for ax, cost in zip(figure.subplots(1, 2, sharey=True), ("parameters", "seconds"), strict=True):
        by_cost = points.sort_values([cost, "mean"], ascending=[True, False])
        front = by_cost[by_cost["mean"] == by_cost["mean"].cummax()]
        ax.step(front[cost], front["mean"], where="post", color="0.6", zorder=0)
        for place, (name, point) in enumerate(points.iterrows(), 1):
            which = int(name in ours)
            error = [[point["mean"] - point["low"]], [point["high"] - point["mean"]]]
            dot = ax.errorbar(
                point[cost], point["mean"], error, fmt="os"[which], color=COLOURS[which], label=f"{place} {name}"
            )
            dot[0].set_clip_on(False)
            ax.annotate(str(place), (point[cost], point["mean"]), (6, 3), textcoords="offset points", fontsize=9)
        ax.set_xscale("log")
        ax.set_xlabel({"parameters": "parameters", "seconds": "CPU seconds of training"}[cost])
        ax.grid(alpha=0.3)
    figure.axes[0].set_ylabel("test accuracy (%)")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


def one_read(image: Tensor, place: tuple[int, int], theta: Tensor, shares: Tensor, reads: Tensor) -> Figure:
    """Draw how one neighbourhood reads, from left to right: itself, its shares, what it reads, and what all read together.

    Args:
        image: (height, width), pixels.
        place: the row and column in the middle of the neighbourhood.
        theta: prototypes (k, rows, columns), red for positive, blue for negative.
        shares: the softmax (k,) at this place.
        reads: (height, width), the reads of all neighbourhoods, added up.
    """
    figure = _closed(9, 2.8)
    axes = figure.subplots(1, 4, width_ratios=[1.3, 1.2, 1, 1.3])
    (rows, columns), (y, x) = theta.shape[1:], place
    corner = x - columns // 2 - 0.5, y - rows // 2 - 0.5
    axes[0].imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
    for j, (kernel, share) in enumerate(zip(theta.numpy(), shares.tolist(), strict=True)):
        limit = abs(kernel).max()
        axes[1].imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=(-1, -0.1, j - 0.45, j + 0.45))
        axes[1].barh(j, len(theta) * share / 2, color=COLOURS[0])
    axes[1].set(xlim=(-1.1, len(theta) / 2), ylim=(-0.6, len(theta) - 0.4))
    for ax, read in ((axes[2], torch.einsum("k,kuv->uv", shares, theta)), (axes[3], reads)):
        limit = read.abs().max().item()
        ax.imshow(read.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
    for ax in axes[[0, 3]]:
        ax.add_patch(plt.Rectangle(corner, columns, rows, fill=False, edgecolor=COLOURS[4], linewidth=2))
    titles = ("a neighbourhood", "prototypes, shares", "what it reads", "all reads, added up")
    for ax, title in zip(axes, titles, strict=True):
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize=9)
    return figure


def gallery(columns: dict[str, Tensor]) -> Figure:
    """Draw columns of images, each under its name: (images, height, width), pixels."""
    rows = len(next(iter(columns.values())))
    figure = _closed(1.75 * len(columns), 1.7 * rows + 0.3)
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for column, (name, pictures) in zip(axes.T, columns.items(), strict=True):
        for ax, picture in zip(column, pictures, strict=True):
            ax.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
        column[0].set_title(name)
    return figure


def losses(curves: dict[str, Sequence[float]], xlabel: str, ylabel: str) -> Figure:
    """Draw named sequences against their index."""
    figure = _closed(6, 3.6)
    ax = figure.subplots()
    for (name, values), colour, marker in zip(curves.items(), COLOURS, MARKERS, strict=False):
        ax.plot(values, color=colour, marker=marker, markevery=max(1, len(values) // 10), label=name)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(alpha=0.3)
    ax.legend()
    return figure


def _closed(width: float, height: float) -> Figure:
    """A figure that pyplot does not keep; pyplot makes it all the same, for that tells notebooks how to show figures."""
    figure = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(figure)
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


def _draw_accuracy(ax: Axes, records: pd.DataFrame, baseline: str) -> None:
    for (sigma, group), colour, marker in zip(records.groupby("test_noise"), COLOURS, MARKERS, strict=False):
        points = (
            (100 * group.set_index(["model", "iterate"])["accuracy"]).groupby(level=[0, 1]).agg(["mean", "std"]).fillna(0)
        )
        if baseline in points.index:
            mean, std = points.loc[(baseline, 0)]
            ax.axhline(mean, color=colour, linestyle="--", linewidth=1)
            ax.axhspan(mean - std, mean + std, color=colour, alpha=0.12, linewidth=0)
        curve = points.drop(baseline, level=0, errors="ignore").droplevel(0)
        ax.errorbar(curve.index, curve["mean"], curve["std"], color=colour, marker=marker, capsize=3, label=f"σ = {sigma:g}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="iterate", ylabel="accuracy (%)")
    ax.grid(alpha=0.3)
