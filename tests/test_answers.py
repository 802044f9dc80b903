import subprocess
import sys

import pytest
import sympy
import torch

from imr import symbolic
from imr.answers import WrongAnswer, judge

SHIFT = torch.arange(15.0).reshape(5, 3).double() + torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
SQUARE = SHIFT[:3] + 5


def message(given, expected, **options):
    with pytest.raises(WrongAnswer) as caught:
        judge(given, expected, **options)
    return str(caught.value)


@pytest.mark.parametrize("given", [SHIFT, SHIFT.numpy(), SHIFT.tolist(), SHIFT.clone().requires_grad_(), SHIFT + 1e-9])
def test_a_right_array_is_right_whatever_holds_it(given, capsys):
    judge(given, SHIFT)
    assert capsys.readouterr().out == "Right.\n"


def test_dots_are_no_answer_yet(capsys):
    judge(..., SHIFT)
    assert "No answer yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "expected", "says"),
    [
        (-SHIFT, SHIFT, "the sign is wrong"),
        (SHIFT.T, SHIFT, r"shape is (3, 5), which is transposed, expected (5, 3)"),
        (SHIFT[0], SHIFT, "shape is (3,), expected (5, 3)"),
        (SQUARE.T, SQUARE, "it is transposed"),
        (-SQUARE.T, SQUARE, "it is transposed, and the sign is wrong"),
        (2 * SHIFT, SHIFT, "it is 2 times the right answer"),
        (-SHIFT / 2, SHIFT, "it is -1/2 times the right answer"),
        (SHIFT / 5, SHIFT, "divided by 5, a size: a mean in the place of a sum?"),
        (SHIFT * 1.2345678, SHIFT, "it is 1.23457 times the right answer"),
        (SQUARE.diag().diag(), SQUARE, "only the diagonal is right"),
        (SHIFT + 0.25, SHIFT, "off by the same number, 0.25"),
        (SHIFT + torch.arange(5.0)[:, None], SHIFT, "each row is off by a number of its own"),
        (SHIFT + torch.arange(3.0), SHIFT, "each column is off by a number of its own"),
        (SHIFT + 1e-4 * torch.eye(5, 3), SHIFT, "nearly: the largest difference is 1.0e-04"),
        (SHIFT + 7 * torch.eye(5, 3).roll(1, 0), SHIFT, "3 of 15 numbers are wrong, the first at (1, 0)"),
        (SHIFT * float("nan"), SHIFT, "not finite"),
        ("five", SHIFT, "numbers are asked for, this is of type str"),
        (None, SHIFT, "returns nothing"),
        (4, 3.0, "it is 4/3 times the right answer"),
        (0, 3.0, "1 of 1 numbers are wrong"),
    ],
)
def test_usual_mistakes_with_numbers_are_named(given, expected, says):
    assert says in message(given, expected)


def test_mistakes_of_an_exercise_are_named_first():
    assert message(-SHIFT, SHIFT, mistakes={"you went up": -SHIFT}) == "you went up"


def test_zero_is_compared_absolutely(capsys):
    judge(torch.full((3,), 1e-9), torch.zeros(3))
    assert "Right" in capsys.readouterr().out
    assert message(torch.full((3,), 1e-3), torch.zeros(3))


DRAWS = [(SHIFT,), (SQUARE,)]


def test_functions_are_compared_at_the_given_arguments(capsys):
    judge(lambda Z: Z + Z, lambda Z: 2 * Z, at=DRAWS)
    assert capsys.readouterr().out == "Right, at 2 random points.\n"
    assert "the sign is wrong" in message(lambda Z: -2 * Z, lambda Z: 2 * Z, at=DRAWS)
    assert message(lambda Z: Z, lambda Z: 2 * Z, at=DRAWS, mistakes={"once": lambda Z: Z}) == "once"
    assert "a function is asked for" in message(SHIFT, lambda Z: Z, at=DRAWS)
    assert "ended in RuntimeError" in message(lambda Z: Z @ Z, lambda Z: 2 * Z, at=DRAWS)
    assert "returns nothing" in message(lambda Z: None, lambda Z: 2 * Z, at=DRAWS)
    with pytest.raises(ValueError, match="at is empty"):
        judge(lambda Z: Z, lambda Z: Z)
    with pytest.raises(NotImplementedError):
        judge(unfinished, lambda Z: Z, at=DRAWS)


def unfinished(Z):
    raise NotImplementedError


def test_a_function_that_is_right_once_is_not_right():
    assert message(lambda Z: Z if len(Z) == 5 else -Z, lambda Z: Z, at=DRAWS)


def test_a_function_that_overwrites_its_arguments_harms_nothing():
    before = SHIFT.clone()
    judge(lambda Z: Z.mul_(2), lambda Z: 2 * Z, at=DRAWS)
    assert torch.equal(SHIFT, before)


x, y = sympy.symbols("x y")
p, t = symbolic.indices("p t", symbolic.n)
a, b = symbolic.indices("a b", symbolic.d)
(Z,), (form,) = symbolic.tensors("Z", symbolic.n, symbolic.d), symbolic.tensors("form", symbolic.d, symbolic.d)
N = symbolic.total(Z[p, a] * form[a, b] * Z[t, b], a, b)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((x + y) ** 2, x**2 + 2 * x * y + y**2),
        (sympy.sin(x) ** 2 + sympy.cos(x) ** 2, sympy.Integer(1)),
        (symbolic.total(Z[t, a] * form[b, a] * Z[p, b], b, a), N),
        (sympy.Matrix([[x + x]]), sympy.Matrix([[2 * x]])),
        (0.5, sympy.Rational(1, 2)),
    ],
)
def test_right_expressions_are_right_in_any_form(given, expected, capsys):
    judge(given, expected)
    assert capsys.readouterr().out == "Right.\n"


@pytest.mark.parametrize(
    ("given", "expected", "says"),
    [
        (-x * y, x * y, "the sign is wrong"),
        (-N, N, "the sign is wrong"),
        (N.xreplace({p: t, t: p}), N, "two indices have changed places"),
        (-N.xreplace({p: t, t: p}), N, "two indices have changed places, and the sign is wrong"),
        (N + sympy.Float(0.1), N, "write 1/10 as Rational(1, 10)"),
        (N / symbolic.d, N, "it is 1/d times the right answer"),
        (2 * N, N, "it is 2 times the right answer"),
        (sympy.Matrix([[x, y], [0, 1]]).T, sympy.Matrix([[x, y], [0, 1]]), "transposed"),
        (sympy.Matrix([[x, y]]).T, sympy.Matrix([[x, y]]), "shape is (2, 1), which is transposed"),
        (x, x * y, "it does not contain y"),
        (x * sympy.Symbol("w"), x * y, "it contains w"),
        (x + 1, x + 2, "it is not the same"),
        (x, sympy.Matrix([[x]]), "shape is (), expected (1, 1)"),
        (object(), x, "an expression is asked for"),
    ],
)
def test_usual_mistakes_with_expressions_are_named(given, expected, says):
    assert says in message(given, expected)


def test_mistakes_with_expressions_may_be_named():
    assert message(x - y, x + y, mistakes={"you subtracted": x - y}) == "you subtracted"


def test_notebooks_show_the_message_without_a_traceback():
    assert WrongAnswer("the sign is wrong")._render_traceback_() == ["Not yet: the sign is wrong"]


def test_symbolic_answers_are_checked_without_numpy_and_torch():
    code = """
import sys
sys.modules["numpy"] = sys.modules["torch"] = None
from imr import answers, symbolic
(p,), (a,) = symbolic.indices("p", symbolic.n), symbolic.indices("a", symbolic.d)
Z, = symbolic.tensors("Z", symbolic.n, symbolic.d)
answers.judge(2 * Z[p, a] - Z[p, a], Z[p, a])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Right.\n"
