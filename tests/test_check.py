import numpy as np
import pytest

from imr.check import digest, stated


@pytest.mark.parametrize(
    ("value", "text"), [(0.6684, "0.668"), (0.6676, "0.668"), (-2.04, "-2.0"), (1.24e-3, "1.2e-3"), (41.6, "42")]
)
def test_stated_prints_what_holds(value, text, capsys):
    stated(value, text)
    assert capsys.readouterr().out == text + "\n"


@pytest.mark.parametrize(
    ("value", "text"), [(0.669, "0.668"), (1.3e-3, "1.2e-3"), (-0.668, "0.668"), (float("nan"), "0.668")]
)
def test_stated_raises_where_the_text_is_wrong(value, text):
    with pytest.raises(AssertionError, match="computed is"):
        stated(value, text)


@pytest.mark.parametrize(
    ("value", "text", "printed"), [(0.846, "0.84", "0.85"), (1.31e-3, "1.2e-3", "1.3e-3"), (-0.002, "0.00", "0.00")]
)
def test_what_is_printed_comes_from_the_computation(value, text, printed, capsys):
    stated(value, text, tolerance=0.01)
    assert capsys.readouterr().out == printed + "\n"


def test_stated_raises_beyond_its_tolerance():
    with pytest.raises(AssertionError, match="computed is"):
        stated(0.851, "0.84", tolerance=0.01)


def test_digest_tells_different_data_apart(capsys):
    digest(curve=np.arange(6.0).reshape(2, 3))
    assert capsys.readouterr().out == "curve (2, 3): mean 2.5, sd 1.71, min 0, max 5\n"


def test_digest_does_not_show_rounding_noise_as_a_mean(capsys):
    digest(a=np.array([1.0, -1.0 + 1e-16]))
    assert "mean 0," in capsys.readouterr().out


@pytest.mark.parametrize("array", [[], [1.0, float("nan")]])
def test_digest_refuses_what_cannot_be_plotted(array):
    with pytest.raises(ValueError, match="nothing to plot"):
        digest(a=array)
