from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from experiment.small import fit
from torch.func import grad

from imr.data import CENTRE
from imr.experiment.fixed import FIXED, Fixed, FixedRegression
from imr.experiment.protocol import quick

X = torch.rand(6, 8, 8, generator=torch.Generator().manual_seed(0))


def make(label, prototypes=1):
    torch.manual_seed(2)
    return FixedRegression(8, 8, 10, Fixed(label, prototypes)).double()


@pytest.mark.parametrize("prototypes", [1, 4])
def test_a_step_goes_down_the_loss_of_the_label(prototypes):
    model, Z = make("guess", prototypes), X.double() - CENTRE
    C = torch.rand(6, 10, dtype=torch.float64).softmax(-1)
    loss = lambda Z: F.cross_entropy(model.read(Z), C, reduction="sum")
    assert torch.allclose(model.velocity(Z, C), -grad(loss)(Z), atol=1e-12)


def test_under_its_own_probabilities_nothing_moves():
    for prototypes in (1, 4):
        states = make("own", prototypes).iterates(X.double())
        assert torch.allclose(states[-1], states[0], atol=1e-12)


def test_labels_are_what_their_names_say():
    N = torch.tensor([[2.0, 1.0] + [0.0] * 8])
    own = N.softmax(-1)
    assert torch.equal(make("none").labels(N), torch.zeros(1, 10))
    assert torch.equal(make("linear map").labels(N), torch.zeros(1, 10))
    assert torch.equal(make("own").labels(N), own)
    assert torch.equal(make("guess").labels(N), F.one_hot(torch.tensor([0]), 10).float())
    assert torch.allclose(make("smoothed").labels(N), 0.9 * own + 0.01)


def test_with_a_linear_map_the_image_moves_by_it_too():
    model, Z = make("linear map"), X.double() - CENTRE
    with torch.no_grad():
        model.W.normal_()
    zero = torch.zeros(6, 10, dtype=torch.float64)
    still = make("none")
    still.read_out.load_state_dict(model.read_out.state_dict())
    moved = still.velocity(Z, zero) + (Z.flatten(1) @ model.W).view_as(Z)
    assert torch.allclose(model.velocity(Z, zero), moved)


def test_training_leaves_the_regression_alone(digits):
    budget = replace(quick("digits", 0).budgets["multinomial regression"], epochs=2)
    name = "multinomial regression, fixed, linear map"
    budgets = {
        "multinomial regression": budget,
        name: replace(budget, warm_start="multinomial regression", weight_decay=0.1),
    }
    protocol = replace(quick("digits", 0), budgets=budgets)
    regression, moved = fit("multinomial regression", digits, protocol), fit(name, digits, protocol)
    assert torch.equal(moved.read_out.weight, regression.read_out.weight)
    assert moved.W.abs().max() > 0
    assert torch.equal(moved(digits.test.X)[0], regression(digits.test.X)[0])


def test_the_names_tell_the_labels_and_the_prototypes():
    assert all(name.endswith(options.label) for name, options in FIXED.items())
    assert {options.prototypes for options in FIXED.values()} == {1, 8}
