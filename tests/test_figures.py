import numpy as np
import pandas as pd
import torch

from imr import figures


def _pictures(figure):
    return [image.get_array() for ax in figure.axes for image in ax.get_images()]


def test_iterates_shows_each_iterate_and_under_it_its_difference_to_the_first():
    Z = torch.rand(2, 3, 4, 4)
    shown = _pictures(figures.iterates(Z, ["a", "b"]))
    expected = [part for image in Z for row in zip(image, image - image[0], strict=True) for part in row]
    assert len(shown) == len(expected)
    assert all(any(np.allclose(picture, part) for picture in shown) for part in expected)
    grid = [ax for ax in figures.iterates(Z, ["a", "b"]).axes if ax.get_images()]
    assert np.allclose(grid[3 + 2].get_images()[0].get_array(), Z[0, 2] - Z[0, 0])  # second row, third column


def test_a_difference_map_is_symmetric_around_zero_and_red_is_lighter():
    Z = torch.zeros(1, 2, 2, 2)
    Z[0, 1, 0, 0] = 0.5
    below = figures.iterates(Z, ["a"]).axes[3].get_images()[0]
    assert below.get_clim() == (-0.5, 0.5)
    red, _, blue, _ = below.to_rgba(0.5)
    assert red > blue
    above = figures.iterates(Z, ["a"]).axes[1].get_images()[0]
    assert sum(above.to_rgba(1.0)[:3]) > sum(above.to_rgba(0.0)[:3])


def test_overview_draws_a_line_for_each_noise_and_a_level_for_the_baseline():
    rows = [("block", s, i, 0.8 + i / 100 - s / 10) for s in (0.0, 0.3) for i in range(3)]
    rows += [("regression", s, 0, 0.7) for s in (0.0, 0.3)]
    records = pd.DataFrame(rows, columns=["model", "test_noise", "iterate", "accuracy"])
    curves = figures.overview(torch.rand(1, 3, 4, 4), ["a"], records).axes[-1].get_lines()
    heights = sorted(tuple(np.round(line.get_ydata(), 6)) for line in curves)
    assert heights == [(70, 70), (70, 70), (77, 78, 79), (80, 81, 82)]


def test_losses_draws_each_curve_under_its_name():
    (ax,) = figures.losses({"one": [3, 2, 1], "two": [1, 1, 1]}, "step", "nats").axes
    assert [(line.get_label(), list(line.get_ydata())) for line in ax.get_lines()] == [
        ("one", [3, 2, 1]),
        ("two", [1, 1, 1]),
    ]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "nats")
