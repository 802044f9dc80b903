"""Random formulas of the index calculus, other ways to write them, small changes to them, their values in floating point.

Names come from a small pool, so that bound and free indices share them and sums shadow each other.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import product
from math import exp as e_to
from math import log as ln
from math import nan
from operator import add, mul
from random import Random

from sympy import (
    Add,
    Expr,
    Indexed,
    Integer,
    KroneckerDelta,
    Mul,
    Pow,
    Rational,
    Sum,
    Symbol,
    expand,
    symbols,
)
from sympy import exp as exp_
from sympy import log as log_

from imr.symbolic import Index, d, function, indices, k, n, tensors, total

INDICES = {n: indices("i p t", n), d: indices("a b q", d), k: indices("j l m", k)}
ENTRIES = [*tensors("x w", n), *tensors("Z B", n, d), *tensors("C", n, k), *tensors("theta", k, d), *tensors("D", n, n)]
POSITIVE = [*tensors("s", k, positive=True), *tensors("u", n, positive=True)]
LETTERS = symbols("h c", real=True)
g = function("g")


def formula(draw: Random, scope: list[Index], depth: int) -> Expr:
    """A random formula; its free indices are of the scope."""
    if depth == 0 or draw.random() < 0.1:
        return leaf(draw, scope)
    kind = draw.choice(
        ["sum", "sum", "sum", "product", "product", "plus", "plus", "exp", "square", "over", "log", "root", "g"]
    )
    inner = lambda: formula(draw, scope, depth - 1)
    if kind == "sum":
        index = draw.choice(INDICES[draw.choice([n, d, k])])
        return total(formula(draw, [*scope, index, index], depth - 1), index)
    if kind in ("product", "plus"):
        return inner() * inner() if kind == "product" else inner() + inner()
    if kind in ("over", "log", "root"):
        below = positive(draw, scope, depth - 1)
        if kind == "root":
            return below ** Rational(draw.choice([1, -1, 3]), 2)
        if kind == "over" and draw.random() < 0.3:
            below = leaf(draw, scope) - leaf(draw, scope)  # with a delta, perhaps, or 0 where two indices are equal
        return inner() / below if kind == "over" else log_(below)
    return {"exp": exp_, "square": lambda x: x**2, "g": g}[kind](inner())


def positive(draw: Random, scope: list[Index], depth: int) -> Expr:
    """A random formula that is positive: a sum or an exponential, or a polynomial of such."""
    index = draw.choice(INDICES[draw.choice([n, d, k])])
    term = exp_(formula(draw, [*scope, index, index], min(depth, 1)))
    kind = draw.choice(["sum", "sum", "plus", "weighted", "squares", "scaled"])
    if kind == "squares":
        return total(formula(draw, [*scope, index, index], min(depth, 1)) ** 2, index) + draw.choice([0, 1])
    if kind == "scaled":
        weight = draw.choice(POSITIVE)
        one, other = (weight[draw.choice(INDICES[weight.shape[0]])] for _ in range(2))
        return one + draw.choice([1, 2, 3]) * other
    if kind == "plus":
        return total(term, index) + exp_(leaf(draw, scope))
    weight = draw.choice(POSITIVE)
    return total(term * weight[draw.choice(INDICES[weight.shape[0]])] if kind == "weighted" else term, index)


def leaf(draw: Random, scope: list[Index]) -> Expr:
    """An entry, a delta, a letter or a number."""
    kind = draw.choice(["entry"] * 6 + ["delta", "letter", "number"])
    if kind == "letter":
        return draw.choice([*LETTERS, n, d])
    if kind == "number":
        return draw.choice([Integer(2), Integer(-1), Rational(1, 2)])
    if kind == "delta":
        size = draw.choice([index.size for index in scope])
        return KroneckerDelta(pick(draw, scope, size), pick(draw, scope, size))
    tensor = draw.choice(ENTRIES + POSITIVE)
    return tensor[tuple(pick(draw, scope, size) for size in tensor.shape)]


def pick(draw: Random, scope: list[Index], size: Symbol) -> Index:
    """An index of this size, of the scope if it has one."""
    return draw.choice([index for index in scope if index.size == size] or list(INDICES[size]))


def rewritten(draw: Random, expr: Expr) -> Expr:
    """The same value, written in another way."""
    if isinstance(expr, Sum):
        return _other_sum(draw, expr)
    if not expr.args or isinstance(expr, Indexed | KroneckerDelta):
        return expr
    if isinstance(expr, Pow) and expr.exp == 2 and draw.random() < 0.5:
        return rewritten(draw, expr.base) * rewritten(draw, expr.base)
    args = [rewritten(draw, argument) for argument in expr.args]
    if isinstance(expr, exp_) and isinstance(args[0], Add) and draw.random() < 0.5:
        return Mul(*[exp_(argument) for argument in args[0].args])
    again = expr.func(*args)
    return expand(again, power_exp=False) if draw.random() < 0.2 else again


def _other_sum(draw: Random, expr: Sum) -> Expr:
    term, (index, *rest) = expr.function, expr.variables
    if rest:  # SymPy makes one sum of two, the inner one first
        return total(_other_sum(draw, total(term, index)), *draw.sample(rest, len(rest)))
    kind = draw.choice(["name", "name", "split", "delta", "shift"])
    if kind == "split" and isinstance(term, Add):
        return Add(*[rewritten(draw, total(part, index)) for part in term.args])
    unused = [other for other in INDICES[index.size] if other not in term.free_symbols]
    bound = {other for s in term.atoms(Sum) for other in s.variables}
    if not unused or bound & {index, *unused}:
        return total(rewritten(draw, term), index)
    new = draw.choice(unused)
    moved = rewritten(draw, term.xreplace({index: new}))
    if kind == "delta" and new != index:  # Σ_index Σ_new δ(index, new) f(new)
        return total(KroneckerDelta(index, new) * moved, new, index)
    if kind == "shift":  # a constant factor inside, and taken out again
        return total(moved * exp_(LETTERS[0]), new) * exp_(-LETTERS[0])
    return total(moved, new)


def changed(draw: Random, expr: Expr) -> Expr:
    """A neighbour: one leaf, sign, power or name is another."""
    if isinstance(expr, Sum) and draw.random() < 0.8:
        return total(changed(draw, expr.function), *expr.variables)
    if isinstance(expr, Sum):
        return total(expr.function, *[draw.choice(INDICES[index.size]) for index in expr.variables])
    if isinstance(expr, Indexed):
        places = list(expr.indices)
        place = draw.randrange(len(places))
        places[place] = draw.choice(INDICES[places[place].size])
        return expr.base[tuple(places)]
    if isinstance(expr, KroneckerDelta):
        return KroneckerDelta(expr.args[0], draw.choice(INDICES[expr.args[0].size]))
    if not expr.args:
        return -expr if draw.random() < 0.5 else expr + 1
    if isinstance(expr, Add | Mul) and draw.random() < 0.2:
        return expr.func(*expr.args[1:])
    place = draw.randrange(1 if isinstance(expr, Pow) else len(expr.args))
    return expr.func(*[changed(draw, a) if at == place else a for at, a in enumerate(expr.args)])


SIZES = [(2, 3, 2), (3, 2, 3), (3, 3, 2), (2, 2, 3), (1, 3, 3)]
"""Sizes n, d and k at which formulas are compared."""

ENTRY = ENTRIES[2][(*indices("P", n), *indices("Q", d))]
"""The entry in which formulas are differentiated; its indices stand in none of them."""


def number(expr: Expr, sizes: dict, seed: int, step: float = 0.0, bound: dict | None = None) -> float:
    """The value in floating point, the entry being moved by a step: a plain recursion, the calculus has no part in it."""
    bound = bound or {}
    inner = lambda e: number(e, sizes, seed, step, bound)
    at = lambda index: bound.get(index) or Random(f"{seed}{index}{index.size}").randint(1, sizes[index.size])
    if not expr.free_symbols and not expr.args:
        return float(expr)
    if isinstance(expr, Symbol):
        return sizes.get(expr) or Random(f"{seed}{expr}").uniform(-1, 1)
    if isinstance(expr, Indexed):
        places = [at(index) for index in expr.indices]
        value = Random(f"{seed}{expr.base}{places}").uniform(0.1 if expr.base in POSITIVE else -1, 1)
        moved = expr.base == ENTRY.base and places == [at(index) for index in ENTRY.indices]
        return value + step if moved else value
    if isinstance(expr, KroneckerDelta):
        return float(at(expr.args[0]) == at(expr.args[1]))
    if isinstance(expr, Sum):
        ranges = [range(1, sizes[index.size] + 1) for index in expr.variables]
        places = [dict(zip(expr.variables, values, strict=True)) for values in product(*ranges)]
        return sum(number(expr.function, sizes, seed, step, bound | place) for place in places)
    values = [inner(argument) for argument in expr.args]
    if isinstance(expr, Add | Mul):
        return reduce(add if isinstance(expr, Add) else mul, values)
    if isinstance(expr, Pow):
        return values[0] ** values[1]
    return {exp_: e_to, log_: ln, g: lambda x: x**3 - x / 2}.get(expr.func, lambda x: 3 * x**2 - 0.5)(values[0])


def values(expr: Expr, step: float = 0.0, sizes: Sequence[tuple[int, int, int]] = SIZES) -> list[float]:
    """The values at several places, NaN where there is none."""
    found = []
    for seed, at in enumerate(sizes):
        try:
            found.append(number(expr, dict(zip((n, d, k), at, strict=True)), seed, step))
        except (ZeroDivisionError, OverflowError, ValueError):  # of math.log, the last
            found.append(nan)
    return found


def differ(one: list[float], other: list[float], tolerance: float = 1e-6) -> bool:
    """Whether two formulas have different values somewhere, relative to the larger where that exceeds one."""
    return any(abs(x - y) > tolerance * max(1.0, abs(x), abs(y)) for x, y in zip(one, other, strict=True))
