from dataclasses import replace

import pytest
import torch
from experiment.small import fit

from imr import data
from imr.data import CENTRE
from imr.experiment import training
from imr.experiment.evaluation import noisy
from imr.experiment.models import build
from imr.experiment.training import roughness, weighted_loss


def test_each_image_gets_noise_of_its_own_strength(digits, short):
    split = data.Split(torch.zeros(2_000, 8, 8), torch.zeros(2_000, dtype=torch.int64))
    generators = {name: torch.Generator().manual_seed(i) for i, name in enumerate(("order", "noise", "flips"))}
    X = torch.cat([X for X, _, _, _ in training._batches(split, short.budgets["multinomial regression"], 0.4, generators)])
    strengths = X.flatten(1).std(1)
    assert strengths.max() < 0.6
    assert abs(strengths.mean() - 0.2) < 0.02
    assert abs(strengths.std() - 0.4 / 12**0.5) < 0.02


def test_half_of_the_images_are_mirrored(short):
    ramp = torch.arange(8.0).expand(2_000, 8, 8)
    generators = {name: torch.Generator().manual_seed(i) for i, name in enumerate(("order", "noise", "flips"))}
    for flips, expected in ((True, 0.5), (False, 0.0)):
        budget = replace(short.budgets["multinomial regression"], flips=flips)
        batches = training._batches(data.Split(ramp, torch.zeros(2_000, dtype=torch.int64)), budget, 0.0, generators)
        assert abs(torch.cat([X[:, 0, 0] > 0 for X, _, _, _ in batches]).double().mean() - expected) < 0.05


def test_training_noise_reaches_the_model(digits, short):
    weights = [fit("multinomial regression", digits, short, train_noise=sigma).read_out.weight for sigma in (0.0, 0.5)]
    assert (weights[0] - weights[1]).abs().max() > 1e-3


def test_training_leaves_the_callers_generator_alone(digits, short):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit("multinomial regression", digits, short)
    assert torch.rand(1) == expected


def test_a_warm_start_begins_with_the_regression(digits, short):
    regression = fit("multinomial regression", digits, short).read_out.weight
    still = {"one block iterated": replace(short.budgets["one block iterated"], learning_rate=0.0)}
    protocol = replace(short, budgets={**short.budgets, **still})
    assert torch.equal(fit("one block iterated", digits, protocol).read_out.weight, regression)


def test_bfloat16_is_close_to_float32_and_not_the_same(digits, short):
    single = fit("one block iterated", digits, short).read_out.weight
    budgets = {name: replace(budget, precision="bfloat16") for name, budget in short.budgets.items()}
    half = fit("one block iterated", digits, replace(short, budgets=budgets)).read_out.weight
    assert half.dtype == torch.float32
    assert 0 < (single - half).abs().max() < 0.02


def test_weighted_loss_weighs_the_last_iterate_most():
    N, y = torch.randn(3, 7, 10), torch.arange(7)
    each = [torch.nn.functional.cross_entropy(M, y, reduction="sum") for M in N]
    assert torch.allclose(weighted_loss(N, y, 0.1), 0.1 * each[0] + 0.1 * each[1] + each[2])


def test_roughness_is_that_of_the_change_at_later_iterates():
    X = torch.rand(2, 4, 3)
    spike = torch.zeros(2, 4, 3)
    spike[:, 1, 1] = 3.0  # four neighbours
    assert roughness([spike, X + 0.7, X], X) == pytest.approx(0.0, abs=1e-6)  # lighter everywhere is free
    assert roughness([X, X + spike, X + 2 * spike], X) == pytest.approx(2 * 4 * 9 * (1 + 4), rel=1e-5)
    assert roughness([X], X + spike) == 0


def test_smoothness_keeps_changes_smooth(digits, short):
    def rough(price):
        budgets = {name: replace(budget, smoothness=price) for name, budget in short.budgets.items()}
        model = fit("one block iterated", digits, replace(short, budgets=budgets))
        with torch.no_grad():
            return roughness(model.iterates(digits.test.X), digits.test.X - CENTRE).item()

    assert rough(0.1) < 0.7 * rough(0.0)


def test_smoothness_adds_the_roughness_against_the_image_without_noise(digits, short):
    model, budget = build("one block iterated", 8, 8, 10), short.budgets["one block iterated"]
    clean, y = digits.test.X[:5], digits.test.y[:5]
    X = noisy(clean, 0.4, 0)
    with torch.no_grad():
        losses = [training._Objective(model, replace(budget, smoothness=s))(X, clean, y) for s in (0.0, 0.1)]
    assert losses[0] == weighted_loss(model(X), y, budget.earlier)
    assert losses[1] - losses[0] == pytest.approx(0.1 * roughness(model.iterates(X), clean - CENTRE).item(), rel=1e-4)


def test_batches_bring_the_images_with_noise_and_without(digits, short):
    generators = {name: torch.Generator().manual_seed(i) for i, name in enumerate(("order", "noise", "flips"))}
    batches = training._batches(digits.train, short.budgets["one block iterated"], 0.4, generators)
    X, clean, _, size = next(batches)
    assert size == len(X) == 64
    assert 0.05 < (X - clean).std() < 0.4
    originals = {image.numpy().tobytes() for image in digits.train.X}
    assert all(image.numpy().tobytes() in originals for image in clean)


def test_a_training_that_is_stopped_goes_on_to_the_same_model(digits, short, tmp_path):
    whole = fit("one block iterated", digits, short, train_noise=0.4).state_dict()
    file, original = tmp_path / "state", training._State.save

    def save_and_die(state, path):
        original(state, path)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training._State, "save", save_and_die)
        fit("one block iterated", digits, short, train_noise=0.4, state_file=file)
    epochs, one = [], training._epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_epoch", lambda *arguments: epochs.append(one(*arguments)))
        resumed = fit("one block iterated", digits, short, train_noise=0.4, state_file=file).state_dict()
    assert len(epochs) == 1  # of two: the first was not trained again
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_gradient_is_cut(digits, short):
    """Cut to nothing, and without decay, it moves nothing."""
    still = replace(short.budgets["multinomial regression"], clip=0.0, weight_decay=0.0)
    trained = fit("multinomial regression", digits, replace(short, budgets={"multinomial regression": still}))
    torch.manual_seed(0)
    assert torch.equal(trained.read_out.weight, build("multinomial regression", 8, 8, 10).read_out.weight)
