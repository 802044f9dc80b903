"""What is run: every choice of the experiment in frozen, written-down places."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from imr.experiment.convolutional import CONVOLUTIONAL, NAME
from imr.experiment.fixed import FIXED, MANY, REGRESSION
from imr.experiment.variants import FLOWS


@dataclass(frozen=True)
class Budget:
    """How one model is trained.

    Args:
        epochs: passes over the training images.
        learning_rate: the highest of the one-cycle schedule.
        weight_decay: of AdamW, on every parameter.
        batch_size: images.
        flips: mirror each image left to right with probability ½; only where training has no noise, which is variety enough.
        earlier: weight of the loss of each iterate but the last, whose weight is 1: every iterate is trained to be read,
            the last one most.
        smoothness: weight in the loss of :func:`imr.experiment.training.roughness`, of how rough the change is that each
            iterate makes to the image without noise: so iterates remain pictures.
        clip: the gradient's norm is cut to this.
        precision: of the products of matrices in training, and of convolutions; evaluation is in float32.
        model: its name, where the row of the table has another.
        warm_start: begin with the read-out of this model, trained first with its own budget; then iterate 0 is that model.
    """

    epochs: int
    learning_rate: float
    weight_decay: float
    batch_size: int = 256
    flips: bool = False
    earlier: float = 0.1
    smoothness: float = 0.0
    clip: float = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    model: str | None = None
    warm_start: str | None = None


@dataclass(frozen=True)
class Protocol:
    """One preset of the experiment; written into ``results.json`` as it is.

    Noise is additive, Gaussian, on pixels in [0, 1], and not clipped. In training each image gets a strength of its own,
    uniform between 0 and ``train_noise``, anew in each epoch. Test noise has the strength σ and comes from a generator
    seeded with ``noise_seed``, so that every model sees the same noisy images. What is chosen (rates, sizes, epochs) is
    chosen by runs on the training split, evaluated on validation; the test split only reports, and the final models may
    be trained on both other splits.

    Args:
        preset: its name.
        dataset: name of the data set.
        budgets: the models by name, in the order of the table, and how each is trained.
        seeds: of the runs.
        train_noise: the training regimes, each the largest σ of its noise; 0 is clean.
        test_noise: the σ of the tests.
        kept: the models whose weights of the first seed are kept, in the checkpoint, and drawn.
        noise_seed: of the test noise.
        trained_on: splits, joined by "+".
        evaluated_on: split.
        compiled: train through ``torch.compile``.
        seconds: what is counted.
    """

    preset: str
    dataset: str
    budgets: dict[str, Budget]
    seeds: tuple[int, ...]
    train_noise: tuple[float, ...]
    test_noise: tuple[float, ...]
    kept: tuple[str, ...]
    noise_seed: int = 20_250_904
    trained_on: str = "train"
    evaluated_on: str = "test"
    compiled: bool = False
    seconds: str = "CPU seconds of training, all threads"


def quick(dataset: str, seed: int) -> Protocol:
    """Two minutes on two cores: multinomial regression against one iterated block, one seed, trained on clean images."""
    fashion = dataset == "fashion-mnist"
    budget = Budget(epochs=8 if fashion else 20, learning_rate=3e-3, weight_decay=1e-4, batch_size=256 if fashion else 64)
    return Protocol(
        preset="quick",
        dataset=dataset,
        budgets={REGRESSION: budget, "one block iterated": budget},
        seeds=(seed,),
        train_noise=(0.0,),
        test_noise=(0.0, 0.1, 0.3, 0.5),
        kept=("one block iterated",),
    )


CONVOLUTION = Budget(
    epochs=9, learning_rate=8e-3, weight_decay=0.02, batch_size=128, flips=True, earlier=0.0, precision="bfloat16"
)

FLOW = Budget(epochs=12, learning_rate=1e-2, weight_decay=0.01, batch_size=128, flips=True, smoothness=3e-5)

BUDGETS = {
    REGRESSION: Budget(epochs=12, learning_rate=2e-2, weight_decay=0.01, batch_size=128),
    "block": FLOW,
    "block, smooth changes": replace(FLOW, model="block", smoothness=1e-3),
    "attention alone": FLOW,
    "everything but attention": FLOW,
    "MLP-128": Budget(epochs=12, learning_rate=1e-2, weight_decay=0.01, batch_size=128),
    "two convolutions": Budget(epochs=12, learning_rate=1e-2, weight_decay=0.01, batch_size=128),
    "TransformerEncoder": Budget(epochs=12, learning_rate=3e-3, weight_decay=0.01, batch_size=128),
    "SimpleViT": Budget(epochs=12, learning_rate=1e-2, weight_decay=0.01, batch_size=128),
}
"""How the models of the main table are trained."""

CONVOLUTIONS = {
    **dict.fromkeys((NAME, f"{NAME}, identity", f"{NAME}, no softmax", f"{NAME}, ReLU"), CONVOLUTION),
    "residual net": CONVOLUTION,
    "CRATE-like": replace(CONVOLUTION, learning_rate=3e-3),
    "energy transformer": replace(CONVOLUTION, learning_rate=3e-3),
    "two convolutions": BUDGETS["two convolutions"],
}
"""How the convolutional block and its peers are trained."""

RATES = (1e-3, 3e-3, 1e-2, 2e-2)


def full(dataset: str, seed: int) -> Protocol:
    """About two hours on two cores: the block and its parts against the baselines, five seeds, clean and noisy training."""
    return Protocol(
        preset="full",
        dataset=dataset,
        budgets=BUDGETS,
        seeds=tuple(range(seed, seed + 5)),
        train_noise=(0.0, 0.9),
        test_noise=(0.0, 0.1, 0.2, 0.3, 0.5),
        kept=("block", "block, smooth changes"),
        trained_on="train+validation",
    )


def convolutions(dataset: str, seed: int) -> Protocol:
    """Some hours on two cores: the convolutional block, what it is without its softmax, and its peers."""
    return replace(full(dataset, seed), preset="convolutions", budgets=CONVOLUTIONS, kept=(NAME,))


def curve(dataset: str, seed: int) -> Protocol:
    """Some hours on two cores: how many prototypes compete in one softmax, at equal parameters; and self-attention."""
    rows = [name for name in CONVOLUTIONAL if name == NAME or "k = " in name or "self" in name]
    return replace(full(dataset, seed), preset="curve", budgets=dict.fromkeys(rows, CONVOLUTION), kept=())


def fixed(dataset: str, seed: int) -> Protocol:
    """About an hour on two cores: what a few steps of the flow are worth to a regression that stays as it is."""
    regression = replace(BUDGETS[REGRESSION], epochs=3)
    many = f"{MANY} prototypes a class"
    rows = {
        name: replace(regression, warm_start=many if options.prototypes == MANY else REGRESSION)
        for name, options in FIXED.items()
    }
    budgets = {REGRESSION: regression, many: regression, **rows}
    return replace(full(dataset, seed), preset="fixed", budgets=budgets, kept=())


def ablations(dataset: str, seed: int) -> Protocol:
    """About an hour on two cores: what each piece of the block is worth; three seeds, three epochs, clean and noisy."""
    block, regression = replace(BUDGETS["block"], epochs=3), replace(BUDGETS[REGRESSION], epochs=3)
    warm = replace(block, model="block", warm_start=REGRESSION)
    return Protocol(
        preset="ablations",
        dataset=dataset,
        budgets={
            REGRESSION: regression,
            **dict.fromkeys(FLOWS, block),
            "block, read-out warm-started": warm,
        },
        seeds=tuple(range(seed, seed + 3)),
        train_noise=(0.0, 0.9),
        test_noise=(0.0, 0.5),
        kept=("block",),
        trained_on="train+validation",
    )


def rates(dataset: str, seed: int) -> Protocol:
    """To choose the rates: each model of the main table at four rates, 4 epochs, validation images."""
    rows = {
        f"{name}, rate {rate:g}": replace(budget, model=name, epochs=4, flips=False, learning_rate=rate)
        for name, budget in (BUDGETS | CONVOLUTIONS).items()
        if not budget.model
        for rate in RATES
    }
    return _choice("rates", dataset, seed, rows)


def flips(dataset: str, seed: int) -> Protocol:
    """To choose the flips: each model of the main table with and without, all epochs, validation images."""
    rows = {
        f"{name}, {'flips' if flips else 'no flips'}": replace(budget, model=name, flips=flips)
        for name, budget in (BUDGETS | CONVOLUTIONS).items()
        if not budget.model
        for flips in (False, True)
    }
    return _choice("flips", dataset, seed, rows)


def _choice(preset: str, dataset: str, seed: int, rows: dict[str, Budget]) -> Protocol:
    return Protocol(
        preset=preset,
        dataset=dataset,
        budgets=rows,
        seeds=(seed,),
        train_noise=(0.0,),
        test_noise=(0.0, 0.5),
        kept=(),
        evaluated_on="validation",
    )


PRESETS: dict[str, Callable[[str, int], Protocol]] = {
    "quick": quick,
    "full": full,
    "convolutions": convolutions,
    "curve": curve,
    "fixed": fixed,
    "ablations": ablations,
    "rates": rates,
    "flips": flips,
}
"""Protocols by name: functions of the data set's name and the first seed."""
