"""Derivatives of sums, with Kronecker deltas resolved; definitions put in for symbols."""

from collections.abc import Callable, Mapping
from functools import reduce

from sympy import Add, Expr, Indexed, Integer, KroneckerDelta, Mul, Sum, expand, sympify

from imr.symbolic.language import Index, Tensor, rename, require_well_formed, total
from imr.symbolic.oracle import require_slope

Entry = Callable[..., Expr]


def derivative(f: Expr, entry: Indexed) -> Expr:
    """∂f/∂Z_pq with all deltas contracted; ``entry`` is Z[p, q] with p and q of its own.

    The result is compared with exact arithmetic at a few random places.

    Raises:
        ValueError: an index of ``entry`` is summed over in ``f``; the sum would capture it. Or ``f`` is not of the calculus.
        UnsoundError: arithmetic contradicts the result, by an error of this module or of SymPy.
    """
    f = sympify(f, strict=True)
    if not isinstance(entry, Indexed):
        raise ValueError(f"the derivative is asked for in {entry}, expected an entry of a tensor, such as Z[p, q]")
    require_well_formed(f)
    require_well_formed(entry)
    bound = {index for s in f.atoms(Sum) for index in s.variables}
    if clash := bound & set(entry.indices):
        names = ", ".join(sorted(map(str, clash)))
        raise ValueError(f"the entry {entry} uses {names}, which is summed over in f; take an entry with other indices")
    slope = contract(f.diff(entry))
    require_slope(f, entry, slope)
    return slope


def contract(expr: Expr) -> Expr:
    """Distribute sums over terms, pull constants out, and resolve Σₐ δ(a,q) f(a) = f(q).

    Raises:
        ValueError: the expression is not of the calculus.
    """
    expr = sympify(expr, strict=True)
    require_well_formed(expr)
    return _contract(expr)


def unfold(expr: Expr, definitions: Mapping[Tensor, Entry]) -> Expr:
    """Replace each entry of a tensor by its definition: ``unfold(e, {N: lambda i, j: total(Z[i, a] * theta[j, a], a)})``.

    Indices that the definition sums over get names of their own in each place, so nothing is captured.

    Raises:
        ValueError: an entry is taken at an index of another range than the definition allows; or the definition has a free
            index of its own that is summed over in ``expr``, where a sum could capture it.
    """
    summed = {index for s in expr.atoms(Sum) for index in s.variables}

    def instance(symbol: Indexed) -> Expr:
        slots = [Index("slot", size).fresh() for size in symbol.base.shape]
        definition = _apart(sympify(definitions[symbol.base](*slots), strict=True))
        if clash := summed & definition.free_symbols:
            names = ", ".join(sorted(map(str, clash)))
            raise ValueError(
                f"the definition of {symbol.base} has {names}, which is summed over around it; take another index"
            )
        return definition.xreplace(dict(zip(slots, symbol.indices, strict=True)))

    return expr.replace(lambda e: isinstance(e, Indexed) and e.base in definitions, instance)


def _apart(expr: Expr) -> Expr:
    """Give every bound index a serial number of its own."""

    def own(term: Expr, *limits: tuple) -> Expr:
        names = {index: index.fresh() for index, *_ in limits}
        return total(term.xreplace(names), *names.values())

    return expr.replace(Sum, own)


def _contract(expr: Expr) -> Expr:
    if not expr.has(Sum):
        return expr
    if not isinstance(expr, Sum):
        return expr.func(*[_contract(argument) for argument in expr.args])
    return reduce(_sum_once, expr.variables, _contract(expr.function))


def _sum_once(term: Expr, index: Index) -> Expr:
    """Σ over one index, term by term, without the deltas that have it."""
    done = []
    for part in Add.make_args(expand(term, power_exp=False)):  # power_exp would turn exp(Σ) into a product of exp
        delta = next((factor for factor in Mul.make_args(part) if _picks(factor, index)), None)
        if delta is None:
            constant, rest = part.as_independent(index)
            done.append(constant * total(rest, index))
        else:
            (other,) = set(delta.args[:2]) - {index}
            rest = reduce(lambda a, b: a * b, (f for f in Mul.make_args(part) if f != delta), Integer(1))
            done.append(rename(rest, {index: other}))
    return Add(*done)


def _picks(factor: Expr, index: Index) -> bool:
    return isinstance(factor, KroneckerDelta) and index in factor.args[:2]
