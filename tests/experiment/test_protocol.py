import pytest
import torch

from imr.experiment.convolutional import NAME
from imr.experiment.models import MODELS, build
from imr.experiment.protocol import CONVOLUTIONS, PRESETS, full


def test_the_limits_of_the_comparison():
    """At most 50,000 parameters for the blocks, and 4 iterates; the transformers have at least as many parameters."""
    size = {
        name: sum(p.numel() for p in build(name, 28, 28, 10).parameters())
        for name in full("fashion-mnist", 0).budgets | CONVOLUTIONS
        if name in MODELS
    }
    assert max(n for name, n in size.items() if "block" in name or name in CONVOLUTIONS) <= 50_000
    assert len(build("block", 28, 28, 10)(torch.rand(1, 28, 28))) == 5
    for name in ("TransformerEncoder", "SimpleViT"):
        assert size["block"] <= size[name] <= 50_000


@pytest.mark.parametrize("preset", PRESETS)
def test_no_protocol_tests_on_what_it_trains_on(preset):
    protocol = PRESETS[preset]("fashion-mnist", 0)
    assert protocol.evaluated_on not in protocol.trained_on
    assert set(protocol.kept) <= set(protocol.budgets)


def test_what_is_compared_with_the_convolutional_block_is_trained_as_it_is():
    budgets = PRESETS["convolutions"]("fashion-mnist", 0).budgets
    for name in ("identity", "no softmax", "ReLU"):
        assert budgets[f"{NAME}, {name}"] == budgets[NAME]
    curve = PRESETS["curve"]("fashion-mnist", 0).budgets
    assert set(curve.values()) == {budgets[NAME]}
    assert {name.rpartition(" ")[2] for name in curve if "k = " in name} == {"2", "4", "16", "64"}
    assert budgets["residual net"].flips and budgets["residual net"].epochs == budgets[NAME].epochs


def test_a_fixed_regression_begins_with_one_that_was_trained_by_itself():
    budgets = PRESETS["fixed"]("fashion-mnist", 0).budgets
    for name, budget in budgets.items():
        assert budget.warm_start in (None, *budgets) and (budget.warm_start is None) == ("fixed" not in name)
        if budget.warm_start:
            begun, first = (build(n, 28, 28, 10).read_out.weight for n in (name, budget.warm_start))
            assert begun.shape == first.shape
