import torch

from imr.experiment.evaluation import confusion, noisy
from imr.experiment.models import build


def test_confusion_counts_true_classes_against_read_ones(digits):
    model = build("one block iterated", 8, 8, 10)
    counts, N = confusion(model, digits.test), model(digits.test.X)
    assert counts.shape == (5, 10, 10)
    assert (counts.sum(-1) == digits.test.y.bincount()).all()
    assert counts[4, 3, 5] == ((digits.test.y == 3) & (N[4].argmax(-1) == 5)).sum()
    assert not torch.equal(counts[4], counts[4].mT)


def test_noise_has_the_stated_spread_and_a_fixed_generator(digits):
    noise = noisy(digits.test.X, 0.3, seed=1) - digits.test.X
    drawn = torch.randn(digits.test.X.shape, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(noise, 0.3 * drawn, atol=1e-6)
    assert abs(noise.std() - 0.3) < 0.005
    assert abs(noise.mean()) < 0.005
    assert torch.equal(noisy(digits.test.X, 0.3, seed=1) - digits.test.X, noise)
