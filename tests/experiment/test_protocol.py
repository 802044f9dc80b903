import pytest
import torch

from imr.experiment.models import MODELS, build
from imr.experiment.protocol import PRESETS, full


def test_the_limits_of_the_comparison():
    """At most 50,000 parameters and 4 iterates for the block; the transformers have at least as many parameters."""
    size = {
        name: sum(p.numel() for p in build(name, 28, 28, 10).parameters())
        for name in full("fashion-mnist", 0).budgets
        if name in MODELS
    }
    assert size["block"] <= 50_000
    assert len(build("block", 28, 28, 10)(torch.rand(1, 28, 28))) == 5
    for name in ("TransformerEncoder", "SimpleViT"):
        assert size["block"] <= size[name] <= 50_000


@pytest.mark.parametrize("preset", PRESETS)
def test_no_protocol_tests_on_what_it_trains_on(preset):
    protocol = PRESETS[preset]("fashion-mnist", 0)
    assert protocol.evaluated_on not in protocol.trained_on
    assert set(protocol.kept) <= set(protocol.budgets)
