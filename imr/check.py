"""Numbers that a notebook prints only where they are as the book states them, and digests of what a figure shows."""

import numpy as np
from numpy.typing import ArrayLike


def stated(value: float, text: str, tolerance: float | None = None) -> None:
    """Print ``value``, to the digits of ``text``, if the two agree, else raise.

    What is printed comes from the computation; ``text`` says to how many digits, and what the book expects, so that a
    number that drifts fails the cell.

    Args:
        value: the number as computed; anything that ``float`` takes.
        text: the number as the book states it, such as "0.668" or "1.2e-3".
        tolerance: largest allowed difference; by default half a unit of the last digit stated.

    Raises:
        AssertionError: names the number stated, the number computed and the tolerance.
    """
    mantissa, e, exponent = text.lower().partition("e")
    places, power = len(mantissa.partition(".")[2]), int(exponent or 0)
    allowed = 0.5 * 10.0 ** (power - places) if tolerance is None else tolerance
    if not abs(float(value) - float(text)) <= allowed * (1 + 1e-9):
        raise AssertionError(f"stated is {text}, computed is {float(value)!r} (tolerance {allowed:g})")
    print(f"{float(value) / 10.0**power:z.{places}f}{e}{exponent}")


def digest(**arrays: ArrayLike) -> None:
    """Print shape, mean, standard deviation, least and largest value of each array, to three significant digits.

    nbval does not compare pictures; it compares this line, printed beside each picture from the same data.

    Raises:
        ValueError: an array is empty or holds a value that is not finite.
    """
    for name, array in arrays.items():
        a = np.asarray(array, dtype=float)
        if not a.size or not np.isfinite(a).all():
            raise ValueError(f"{name} has shape {a.shape} and is empty or not finite: there is nothing to plot")
        mean, spread = (0.0 if abs(v) < 1e-9 * np.abs(a).max() else v for v in (a.mean(), a.std()))
        print(f"{name} {a.shape}: mean {mean:.3g}, sd {spread:.3g}, min {a.min():.3g}, max {a.max():.3g}")
