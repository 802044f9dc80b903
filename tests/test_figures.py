import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from imr import figures, interactive


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


BASE = "multinomial regression"


def records_of(regimes):
    rows = [
        ("block", t, s, seed, i, 0.8 + i / 100 - s / 10 + seed / 100)
        for t in regimes
        for s in (0.0, 0.3)
        for seed in (0, 2)
        for i in range(3)
    ]
    rows += [(BASE, t, s, seed, 0, 0.7) for t in regimes for s in (0.0, 0.3) for seed in (0, 2)]
    return pd.DataFrame(rows, columns=["model", "train_noise", "test_noise", "seed", "iterate", "accuracy"])


def curves(ax):
    return sorted(
        tuple(np.round(np.asarray(line.get_ydata(), float), 6))
        for line in ax.get_lines()
        if line.get_marker() in "osD^vP" or line.get_linestyle() == "--"
    )


def test_overview_draws_a_line_for_each_noise_and_a_level_for_the_baseline():
    ax = figures.overview(torch.rand(1, 3, 4, 4), ["a"], records_of([0.0])).axes[-1]
    assert curves(ax) == [(70, 70), (70, 70), (78, 79, 80), (81, 82, 83)]


def test_accuracy_has_a_panel_for_each_regime_and_the_spread_over_the_seeds():
    clean, noise = figures.accuracy(records_of([0.0, 0.5])).axes
    assert "clean" in clean.get_title() and "0.5" in noise.get_title()
    assert curves(clean) == curves(noise) == [(70, 70), (70, 70), (78, 79, 80), (81, 82, 83)]
    bar = clean.containers[0].lines[2][0].get_segments()[0]
    assert bar[1][1] - bar[0][1] == pytest.approx(2 * 2**0.5)


def test_the_frontier_joins_what_no_model_beats_at_less_cost():
    rows = {"a": (10, 4, 80.0), "b": (20, 1, 85.0), "c": (30, 2, 83.0), "d": (40, 3, 90.0)}
    points = pd.DataFrame(rows, ["parameters", "seconds", "mean"]).T.assign(
        low=lambda p: p["mean"] - 1, high=lambda p: p["mean"] + 2
    )
    by_size, by_time = figures.frontier(points, ["d"]).axes
    joined = lambda ax: [tuple(point) for point in ax.get_lines()[0].get_xydata()]
    assert joined(by_size) == [(10, 80), (20, 85), (40, 90)] and joined(by_time) == [(1, 85), (3, 90)]
    bars = {dots.get_label(): dots.lines[2][0].get_segments()[0][:, 1] for dots in by_size.containers}
    assert list(bars) == ["1 d", "2 b", "3 c", "4 a"] and tuple(bars["3 c"]) == (82, 85)
    assert {text.get_text() for text in by_time.texts} == {"1", "2", "3", "4"}


def test_descent_draws_the_change_of_each_step():
    rows = [
        {"iterate": 1, "part": "A", "before": 3.0, "after": 1.0, "falls": 1.0, "step": 1.0},
        {"iterate": 1, "part": "B", "before": 1.0, "after": 2.0, "falls": 0.25, "step": 1.0},
    ]
    (ax,) = figures.descent(rows).axes
    assert [patch.get_height() for patch in ax.patches] == [-2, 1]
    assert [text.get_text() for text in ax.texts] == ["100%", "25%"]


def test_class_changes_share_one_scale():
    changes = torch.stack([torch.full((4, 4), 0.5), torch.full((4, 4), -0.1)])
    axes = figures.class_changes(changes, ["a", "b"]).axes
    assert [ax.get_title() for ax in axes[:2]] == ["a", "b"]
    assert all(ax.get_images()[0].get_clim() == (-0.5, 0.5) for ax in axes[:2])


def test_one_read_frames_the_neighbourhood_and_draws_its_shares_and_their_mean():
    theta, shares = torch.stack([torch.eye(3), -torch.eye(3)]), torch.tensor([0.75, 0.25])
    image, prototypes, read, reads = figures.one_read(torch.zeros(9, 9), (4, 2), theta, shares, torch.ones(9, 9)).axes
    for ax in (image, reads):
        (frame,) = ax.patches
        assert frame.get_bbox().bounds == (0.5, 2.5, 3, 3)
    assert [bar.get_width() for bar in prototypes.patches] == [0.75, 0.25]
    assert (read.images[0].get_array() == 0.5 * torch.eye(3).numpy()).all()


def test_confusion_is_in_per_cent_of_the_true_class():
    counts = {"before": torch.tensor([[1, 3], [0, 2]]), "after": torch.tensor([[4, 0], [0, 2]])}
    figure = figures.confusion(counts, ["a", "b"])
    before, after = figure.axes
    assert [text.get_text() for text in before.texts] == ["25", "75", "100"]
    assert [text.get_text() for text in after.texts] == ["100", "100"]


def frames(page):
    """(alt, pixels) of each picture."""
    found = re.findall('alt="([^"]*)" src="data:image/png;base64,([^"]*)"', page)
    return [(alt, np.asarray(Image.open(io.BytesIO(base64.b64decode(code))))) for alt, code in found]


def test_the_slider_holds_every_iterate_and_its_difference():
    Z = torch.zeros(1, 2, 3, 4, 4)
    Z[0, 1, 2] = 1.0
    page = interactive.iterates(Z, ["Bag", "a < b"])
    pictures = frames(page)
    assert len(pictures) == 12
    assert pictures[0][0] == "Bag, iterate 0 of 2" and pictures[10][0] == "a &lt; b, iterate 2 of 2"
    assert (pictures[10][1] == 255).all() and (pictures[0][1] == 0).all()
    red, _, blue = pictures[11][1][0, 0]
    assert red > blue
    assert page.count('type="range"') == 1 and 'max="2"' in page and "<label>" in page
    assert page == interactive.iterates(Z, ["Bag", "a < b"])
    assert page._repr_html_() == page
    assert "http" not in page


def test_the_reader_chooses_image_and_noise():
    Z = torch.rand(3, 2, 2, 4, 4)
    page = interactive.iterates(Z, ["Bag", "Coat"], (0.0, 0.1, 0.5))
    assert "Noise σ" in page and "Image" in page
    assert re.findall("<option[^>]*>([^<]*)<", page) == ["all", "Bag", "Coat", "0", "0.1", "0.5"]
    assert [alt for alt, _ in frames(page)][-1].startswith("Coat, σ = 0.5, iterate 1 minus")
    assert re.findall(r'data-noise="(\d)"( hidden)?', page) == [("0", ""), ("1", " hidden"), ("2", " hidden")]
    assert "<select" not in interactive.iterates(Z[:1, :1], ["Bag"])


@pytest.mark.parametrize(("names", "sigmas"), [(["a"], (0.0,)), (["a", "b"], (0.0, 0.1))])
def test_the_slider_wants_a_name_for_each_image_and_a_sigma_for_each_level(names, sigmas):
    with pytest.raises(ValueError, match=f"there are {len(sigmas)} noise levels and {len(names)} names"):
        interactive.iterates(torch.zeros(1, 2, 3, 4, 4), names, sigmas)


def test_losses_draws_each_curve_under_its_name():
    (ax,) = figures.losses({"one": [3, 2, 1], "two": [1, 1, 1]}, "step", "nats").axes
    assert [(line.get_label(), list(line.get_ydata())) for line in ax.get_lines()] == [
        ("one", [3, 2, 1]),
        ("two", [1, 1, 1]),
    ]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "nats")


def test_a_gallery_has_a_column_for_each_name():
    columns = {"a": torch.rand(3, 4, 4), "b": torch.rand(3, 4, 4)}
    figure = figures.gallery(columns)
    expected = [picture for pair in zip(*columns.values(), strict=True) for picture in pair]  # row by row
    assert all(np.allclose(one, other) for one, other in zip(_pictures(figure), expected, strict=True))
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"] + 4 * [""]
    with pytest.raises(ValueError):
        figures.gallery({"a": torch.rand(3, 4, 4), "b": torch.rand(2, 4, 4)})
