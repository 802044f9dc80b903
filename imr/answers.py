"""Answers to exercises: whether they hold and, if not, what seems to be wrong with them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from types import EllipsisType
from typing import TYPE_CHECKING

import sympy

from imr import symbolic

if TYPE_CHECKING:  # NumPy is imported where it is needed: symbolic answers are judged where there is none, in a browser
    import numpy as np

Expression = sympy.Basic | sympy.MatrixBase


class WrongAnswer(AssertionError):
    """An answer that does not hold; the message says what seems to be wrong. Notebooks show it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {self}"]


def judge(
    given: object,
    expected: object,
    at: Sequence[tuple] = (),
    mistakes: Mapping[str, object] | None = None,
    tolerance: float = 1e-6,
) -> None:
    """Say whether an answer holds and, if not, what seems to be wrong with it; the right answer is never shown.

    The usual mistakes are known by name: shape, transpose, sign, factor (a mean for a sum), a missing off-diagonal, a number
    added, single precision.

    Args:
        given: the reader's answer: a number, an array (torch, NumPy, nested lists), a SymPy expression or matrix, or a
            function that returns one. ``...`` is no answer yet.
        expected: the right answer, of the same kind.
        at: for functions, the arguments to compare them at, a tuple for each call.
        mistakes: more wrong answers to recognise, of the same kind as ``expected``, by what to say about them.
        tolerance: largest allowed difference, relative to the largest entry of the right answer.

    Raises:
        WrongAnswer: the answer does not hold.
        ValueError: functions, and nothing to compare them at.
    """
    if isinstance(given, EllipsisType):
        print("No answer yet: put yours in the place of the dots and run this cell again.")
        return
    wrong = dict(mistakes or {})
    if not callable(expected) or isinstance(expected, sympy.Basic):
        _require(given, expected, wrong, tolerance)
        print("Right.")
        return
    if not at:
        raise ValueError("at is empty, expected at least one tuple of arguments to compare the functions at")
    if not callable(given):
        raise WrongAnswer(f"a function is asked for, this is of type {type(given).__name__}")
    for arguments in at:
        values = {name: function(*_copies(arguments)) for name, function in wrong.items()}
        _require(_call(given, arguments), expected(*_copies(arguments)), values, tolerance)
    print(f"Right, at {len(at)} random {'points' if len(at) > 1 else 'point'}.")


def _call(function: Callable, arguments: tuple) -> object:
    try:
        return function(*_copies(arguments))
    except NotImplementedError:
        raise
    except Exception as error:
        raise WrongAnswer(f"your function ended in {type(error).__name__}: {error}") from error


def _copies(arguments: tuple) -> tuple:
    """Arguments that an answer may overwrite without harm."""
    return tuple(a.clone() if hasattr(a, "clone") else a.copy() if hasattr(a, "copy") else a for a in arguments)


def _require(given: object, expected: object, mistakes: Mapping[str, object], tolerance: float) -> None:
    if isinstance(given, EllipsisType) or given is None:
        raise WrongAnswer("your function returns nothing")
    if isinstance(expected, (sympy.Basic, sympy.MatrixBase)):
        _require_symbolic(given, expected, mistakes)
    else:
        _require_numbers(given, expected, mistakes, tolerance)


def _require_numbers(given: object, expected: object, mistakes: Mapping[str, object], tolerance: float) -> None:
    import numpy as np

    right = _array(expected)
    try:
        mine = _array(given)
    except (TypeError, ValueError) as error:
        raise WrongAnswer(f"numbers are asked for, this is of type {type(given).__name__} ({error})") from error
    if mine.shape != right.shape:
        turned = ", which is transposed" if mine.ndim > 1 and mine.shape == right.shape[::-1] else ""
        raise WrongAnswer(f"the shape is {mine.shape}{turned}, expected {right.shape}")
    if not np.isfinite(mine).all():
        raise WrongAnswer("it holds entries that are not finite (NaN or infinity)")
    allowed = tolerance * (abs(right).max(initial=0.0) or 1.0)

    def close(a: "np.ndarray", b: "np.ndarray") -> bool:
        return a.shape == b.shape and abs(a - b).max(initial=0.0) <= allowed

    if close(mine, right):
        return
    for name, wrong in mistakes.items():
        if close(mine, _array(wrong)):
            raise WrongAnswer(name)
    raise WrongAnswer(next(_numeric_diagnoses(mine, right, close, allowed)))


def _numeric_diagnoses(mine: "np.ndarray", right: "np.ndarray", close: Callable, allowed: float) -> Iterator[str]:
    """What is wrong, the likeliest first; the last says only where."""
    # The order matters: a symmetric answer of the wrong sign is also a transposed one, one of a single entry is always off
    # by a factor and by a number, and a small difference fits almost anything. Each is asked after those that say more.
    import numpy as np

    if close(mine, -right):
        yield "the sign is wrong: it is minus the right answer"
    for sign, but in ((1, ""), (-1, ", and the sign is wrong")):
        if mine.ndim > 1 and close(sign * mine, right.swapaxes(-1, -2)):
            yield f"it is transposed{but}"
    factor = (mine * right).sum() / max((right * right).sum(), 1e-300)
    if factor and close(mine / factor, right):
        yield _factor(factor, right.shape)
    if mine.ndim > 1 and mine.shape[-1] == mine.shape[-2] and close(mine, right * np.eye(mine.shape[-1])):
        yield "only the diagonal is right: the entries off the diagonal are missing"
    off = mine - right
    if mine.size > 1 and close(off, np.full_like(off, off.mean())):
        yield f"every entry is off by the same number, {off.mean():.4g}"
    for axis, name in ((-1, "row"), (-2, "column")):
        if mine.ndim >= -axis and mine.shape[axis] > 1 and close(off, off.mean(axis, keepdims=True) + 0 * off):
            yield f"each {name} is off by a number of its own"
    worst = abs(off).max()
    if worst <= 1e4 * allowed:
        yield f"nearly: the largest difference is {worst:.1e}; single precision, or a formula that rounds badly"
    here = abs(off) > allowed
    first = tuple(int(i) for i in np.argwhere(here)[0])
    where = f", the first at {first}" if mine.ndim else ""
    yield f"{int(here.sum())} of {mine.size} numbers are wrong{where}"


def _factor(factor: float, shape: tuple[int, ...]) -> str:
    for size in shape:
        if size > 2 and abs(abs(factor) * size - 1) < 1e-6:
            return f"it is the right answer divided by {size}, a size: a mean in the place of a sum?"
    near = Fraction(factor).limit_denominator(16)
    shown = str(near) if abs(near - factor) < 1e-6 * abs(factor) else f"{factor:.6g}"
    return f"a constant factor is wrong: it is {shown} times the right answer"


def _array(value: object) -> "np.ndarray":
    import numpy as np

    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, dtype=float)


def _require_symbolic(given: object, expected: Expression, mistakes: Mapping[str, object]) -> None:
    try:
        mine = sympy.sympify(given)
    except sympy.SympifyError as error:
        raise WrongAnswer(f"an expression is asked for, this is of type {type(given).__name__}") from error
    shapes = [e.shape if isinstance(e, sympy.MatrixBase) else () for e in (mine, expected)]
    if shapes[0] != shapes[1]:
        turned = ", which is transposed" if len(shapes[0]) > 1 and shapes[0] == shapes[1][::-1] else ""
        raise WrongAnswer(f"the shape is {shapes[0]}{turned}, expected {shapes[1]}")
    try:
        right = _equal(mine, expected)
    except ValueError as error:  # the index calculus says what is none of its formulas, and why
        raise WrongAnswer(str(error)) from error
    if right:
        return
    for name, wrong in mistakes.items():
        if _equal(mine, sympy.sympify(wrong)):
            raise WrongAnswer(name)
    if strange := _symbols(mine) - _symbols(expected):
        raise WrongAnswer(f"it contains {', '.join(sorted(map(str, strange)))}, which the right answer does not")
    raise WrongAnswer(next(_symbolic_diagnoses(mine, expected)))


def _symbolic_diagnoses(mine: Expression, right: Expression) -> Iterator[str]:
    if _equal(mine, -right):
        yield "the sign is wrong: it is minus the right answer"
    turned = list(_turned(right))
    for sign, but in ((1, ""), (-1, ", and the sign is wrong")):
        if any(_equal(sign * mine, other) for other in turned):
            yield f"it is transposed: two indices have changed places{but}"
    sizes = sorted((s for s in _symbols(right) if s.is_positive and s.is_integer and not _is_index(s)), key=str)
    for factor in (sympy.Integer(2), sympy.Rational(1, 2), *sizes, *(1 / s for s in sizes)):
        if _equal(mine, factor * right):
            yield f"a constant factor is wrong: it is {factor} times the right answer"
    if missing := _symbols(right) - _symbols(mine):
        yield f"it does not contain {', '.join(sorted(map(str, missing)))}, which the right answer does"
    yield "it is not the same (or cannot be brought to the same form: try to expand it)"


def _turned(right: Expression) -> Iterator[Expression]:
    if isinstance(right, sympy.MatrixBase):
        if right.rows == right.cols:
            yield right.T
        return
    free = sorted(filter(_is_index, _symbols(right)), key=str)
    for a, b in combinations(free, 2):
        if a.size == b.size:
            yield right.xreplace({a: b, b: a})


def _is_index(symbol: sympy.Symbol) -> bool:
    return isinstance(symbol, symbolic.Index)


def _symbols(expression: Expression) -> set[sympy.Symbol]:
    """The free symbols; SymPy's own attribute counts Z_pa as one, too."""
    return {symbol for symbol in expression.free_symbols if isinstance(symbol, sympy.Symbol)}


def _equal(a: Expression, b: Expression) -> bool:
    """Whether two expressions are the same: by the index calculus where there are sums, else by SymPy."""
    if isinstance(a, sympy.MatrixBase):
        return all(_equal(x, y) for x, y in zip(a, b, strict=True))
    if a.has(sympy.Sum, sympy.Indexed) or b.has(sympy.Sum, sympy.Indexed):
        return symbolic.same(a, b)
    return bool(sympy.simplify(a - b).equals(0))
