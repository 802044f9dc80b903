"""What is run: every choice of the experiment in one frozen, written-down place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """One preset of the experiment; written into ``results.json`` as it is.

    Noise is additive, Gaussian, of standard deviation σ on pixels in [0, 1], and not clipped. Test noise comes from a
    generator seeded with ``noise_seed``, so that every model sees the same noisy images. What is chosen (rates, sizes,
    epochs) is chosen with ``evaluated_on="validation"``; the test split only reports.
    """

    preset: str
    dataset: str
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    train_noise: tuple[float, ...]
    test_noise: tuple[float, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    noise_seed: int = 20_250_904
    evaluated_on: str = "test"
    iterate_weights: str = "l + 1, normalised: every iterate is trained to be read, the last one most"
    seconds: str = "CPU seconds of training, all threads"


def quick(dataset: str, seed: int) -> Protocol:
    """Two minutes on two cores: multinomial regression against one iterated block, one seed, trained on clean images."""
    return Protocol(
        preset="quick",
        dataset=dataset,
        models=("multinomial regression", "iterated cross-attention block"),
        seeds=(seed,),
        train_noise=(0.0,),
        test_noise=(0.0, 0.1, 0.3, 0.5),
        epochs=8 if dataset == "fashion-mnist" else 60,
        batch_size=256 if dataset == "fashion-mnist" else 64,
        learning_rate=3e-3,
        weight_decay=1e-4,
    )


PRESETS = {"quick": quick}
