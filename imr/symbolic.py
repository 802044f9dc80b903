"""The index calculus: sum identities for symbolic n, d and k, on SymPy. Knows no torch.

SymPy differentiates sums of indexed symbols, but leaves Kronecker deltas and nested sums as they fall. This module
contracts the deltas, brings sums into one order with one set of names, and so *decides* many identities for every size
at once. Two conventions make it sound: every index runs from 1 to its size, and every free index lies in the range of
whatever it is compared with, so that Σₐ δ(a,q) f(a) = f(q) needs no case distinction. Deltas that would need one are
refused: between two summed indices of different ranges, and between an index and anything that is no index, such as i + 1.
"""

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import permutations, product

from sympy import (
    Add,
    Dummy,
    Expr,
    Indexed,
    IndexedBase,
    KroneckerDelta,
    Mul,
    Sum,
    Symbol,
    exp,
    expand,
    log,
    symbols,
    sympify,
)
from sympy.concrete.delta import deltasummation
from sympy.printing.latex import LatexPrinter

n, d, k, r = symbols("n d k r", integer=True, positive=True)
"""The sizes: tokens n, features d, classes k, rank r."""

Range = tuple[Symbol, Symbol]
Entry = Callable[..., Expr]


def indices(names: str) -> tuple[Symbol, ...]:
    """Integer symbols to index with: ``i, j = indices("i j")``."""
    return symbols(names, integer=True, seq=True)


def tensors(names: str) -> tuple[IndexedBase, ...]:
    """Symbols that take indices: ``Z, theta = tensors("Z theta")``, then ``Z[i, a]``."""
    return tuple(IndexedBase(name) for name in names.split())


def total(term: Expr, *ranges: Range) -> Sum:
    """Σ of a term over one or more indices: ``total(Z[i, a] * theta[j, a], (a, d))`` is Σₐ₌₁ᵈ Z_ia θ_ja."""
    return Sum(term, *[(index, 1, size) for index, size in ranges])


def log_sum_exp(logits: Callable[[Expr], Expr], over: Range) -> Expr:
    """LSE = log Σⱼ exp(N_j), the logits given as a function of the index :eq:`eq-lse`."""
    return log(total(exp(logits(over[0])), over))


def softmax(logits: Callable[[Expr], Expr], entry: Expr, over: Range) -> Expr:
    """σ_entry = exp(N_entry) / Σⱼ exp(N_j), the logits given as a function of the index :eq:`eq-softmax`."""
    return exp(logits(entry)) / total(exp(logits(over[0])), over)


def derivative(f: Expr, entry: Indexed) -> Expr:
    """∂f/∂Z_pq with all deltas contracted; ``entry`` is Z[p, q] with p and q of its own.

    Raises:
        ValueError: an index of ``entry`` is summed over in ``f``; the sum would capture it.
    """
    bound = {index for s in f.atoms(Sum) for index in s.variables}
    if clash := bound & entry.free_symbols:
        names = ", ".join(sorted(map(str, clash)))
        raise ValueError(f"the entry {entry} uses {names}, which is summed over in f; take an entry with other indices")
    return contract(f.diff(entry))


def contract(expr: Expr) -> Expr:
    """Distribute sums over terms, pull constants out, and resolve Σₐ δ(a,q) f(a) = f(q).

    Raises:
        ValueError: a delta joins a summed index with one of another range, or with something that is no index.
    """
    return _contract(expr, {})


def same(x: Expr | int, y: Expr | int) -> bool:
    """Whether x = y is proved for all sizes: both sides are brought to one form and compared.

    True is a proof. False is not a disproof: an identity that needs more than linearity, delta contraction, the order of
    finite sums and the expansion of products of sums is missed, such as exp(x + y) = exp(x) exp(y), or a square of a
    sum under another sum.
    """
    return expand(_canonical(sympify(x)) - _canonical(sympify(y)), power_exp=False) == 0


def unfold(expr: Expr, definitions: dict[IndexedBase, Entry]) -> Expr:
    """Replace each indexed symbol by its definition: ``unfold(e, {N: lambda i, j: total(Z[i, a] * theta[j, a], (a, d))})``.

    Indices that the definition sums over get names of their own in each place, so nothing is captured.
    """

    def instance(symbol: Indexed) -> Expr:
        slots = [Dummy(integer=True) for _ in symbol.indices]
        return _fresh(definitions[symbol.base](*slots)).xreplace(dict(zip(slots, symbol.indices, strict=True)))

    return expr.replace(lambda e: isinstance(e, Indexed) and e.base in definitions, instance)


class Formula:
    """An equation that a notebook shows as mathematics; its plain text is the LaTeX source."""

    def __init__(self, left: str, right: Expr) -> None:
        """Set ``left`` (LaTeX) equal to ``right``."""
        self.latex = rf"{left} = {latex(right)}"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {self.latex}$"

    def __repr__(self) -> str:
        """Return the LaTeX source."""
        return self.latex


def latex(expr: Expr) -> str:
    """LaTeX in the book's notation: Z_{ia}, sums from 1, exponentials of logits as e to a power."""
    return _Printer().doprint(expr)


class _Printer(LatexPrinter):
    def _print_Indexed(self, expr: Indexed) -> str:
        return rf"{self._print(expr.base.label)}_{{{''.join(map(self._print, expr.indices))}}}"

    def _print_KroneckerDelta(self, expr: KroneckerDelta, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\delta_{{{''.join(map(self._print, expr.args))}}}{power}"

    def _needs_mul_brackets(self, expr: Expr, first: bool = False, last: bool = False) -> bool:
        return not isinstance(expr, exp) and super()._needs_mul_brackets(expr, first, last)


def _contract(expr: Expr, ranges: dict[Symbol, tuple]) -> Expr:
    """Contract below sums whose indices have the given ranges."""
    if not expr.has(Sum):
        return expr
    if not isinstance(expr, Sum):
        return expr.func(*[_contract(argument, ranges) for argument in expr.args])
    ranges = ranges | {index: tuple(ends) for index, *ends in expr.limits}
    return reduce(lambda term, limit: _sum_once(term, limit, ranges), expr.limits, _contract(expr.function, ranges))


def _sum_once(term: Expr, limit: tuple, ranges: dict[Symbol, tuple]) -> Expr:
    done = []
    for part in Add.make_args(expand(term, power_exp=False)):  # power_exp would turn exp(Σ) into a product of exp
        constant, rest = part.as_independent(limit[0], as_Add=False)
        if rest.has(KroneckerDelta):
            _require_one_range(rest, limit[0], ranges)
            done.append(constant * deltasummation(rest, limit, no_piecewise=True))
        else:
            done.append(constant * Sum(rest, limit))
    return Add(*done)


def _require_one_range(term: Expr, index: Symbol, ranges: dict[Symbol, tuple]) -> None:
    for delta in term.atoms(KroneckerDelta):
        if index in delta.free_symbols:
            other = next((side for side in delta.args if side != index), None)
            if index not in delta.args or not other.is_Symbol or other.is_positive:  # a size is no index
                raise ValueError(f"{delta} compares {index} with something that is no index, and may leave the range")
            if ranges.get(other, ranges[index]) != ranges[index]:
                raise ValueError(
                    f"{delta} joins {index} and {other}, which run to {ranges[index][1]} and {ranges[other][1]}"
                )


def _canonical(expr: Expr) -> Expr:
    """One form for equal sums: own names, contracted, flat, ordered, then named by depth."""
    flat = _flatten(contract(_fresh(expr)))
    return Add(*[_apply_deltas(_rename(term)) for term in Add.make_args(expand(flat, power_exp=False))])


def _fresh(expr: Expr) -> Expr:
    """Give every bound index a name that stands nowhere else."""

    def own(term: Expr, *limits: tuple) -> Sum:
        names = {limit[0]: Dummy(limit[0].name, integer=True) for limit in limits}
        return Sum(term.xreplace(names), *[(names[index], *ends) for index, *ends in limits])

    return expr.replace(Sum, own)


def _flatten(expr: Expr) -> Expr:
    """Σⱼ xⱼ Σᵥ yⱼᵥ becomes Σⱼᵥ xⱼ yⱼᵥ: finite sums of independent ranges commute."""

    def merge(term: Expr, *limits: tuple) -> Sum:
        inner = next((factor for factor in Mul.make_args(term) if isinstance(factor, Sum)), None)
        if inner is None:
            return Sum(term, *limits)
        return merge(term / inner * inner.function, *limits, *inner.limits)

    return expr.replace(Sum, merge)


def _rename(expr: Expr, depth: int = 0) -> Expr:
    """Name bound indices #0, #1, … by depth; among indices of one range take the order that comes first in print."""
    if not expr.has(Sum):
        return expr
    if not isinstance(expr, Sum):
        return expr.func(*[_rename(argument, depth) for argument in expr.args])
    # Two sums that differ only in the names of their indices must come out as one expression. Which index of a range was
    # written first says nothing, so all orders are tried and the one that sorts first is kept: the same for both.
    candidates = []
    for limits in _orders(expr.limits):
        names = {limit[0]: Symbol(f"#{depth + place}", integer=True) for place, limit in enumerate(limits)}
        term = _rename(expr.function.xreplace(names), depth + len(limits))
        candidates.append(Sum(term, *[(names[index], *ends) for index, *ends in limits]))
    return min(candidates, key=lambda candidate: candidate.sort_key())


def _orders(limits: tuple) -> Iterator[list]:
    """Every order of the limits that keeps ranges sorted: only indices of the same range change places."""
    # Over different ranges the order is settled by the ranges; only within one does a choice remain, and its factorial
    # is that of a handful of indices at most.
    ranges = sorted({str(limit[1:]) for limit in limits})
    groups = [[limit for limit in limits if str(limit[1:]) == bounds] for bounds in ranges]
    for choice in product(*[permutations(group) for group in groups]):
        yield [limit for group in choice for limit in group]


def _apply_deltas(term: Expr) -> Expr:
    """δ(i,p) f(i) becomes δ(i,p) f(p), p being the index that comes first in print."""
    for delta in term.atoms(KroneckerDelta) & set(Mul.make_args(term)):
        keep, drop = sorted(delta.args, key=str)
        term = delta * (term / delta).xreplace({drop: keep})
    return term
