"""Whether two expressions are equal for every size: both are read into the normal form and compared."""

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

from sympy import (
    Add,
    Basic,
    Expr,
    Indexed,
    KroneckerDelta,
    Mul,
    NumberSymbol,
    Pow,
    Rational,
    S,
    Sum,
    Symbol,
    exp,
    log,
    sympify,
)

from imr.symbolic.factors import Factor, Name, Poly, Term, add, delta, number, single
from imr.symbolic.language import Index, identity, require_well_formed
from imr.symbolic.normal import exponential, logarithm, multiply, power, sum_over
from imr.symbolic.oracle import require_equal


def same(x: Expr | int, y: Expr | int) -> bool:
    """Whether x = y is proved for all sizes: both sides are brought to one form and compared.

    True is a proof that both are equal for every size, every value of the free indices, and all entries for which both are
    defined; a power with a letter in its exponent is so where its base is positive. It is compared with exact arithmetic at
    a few random places, too. False is not a disproof: an identity that needs more than the rules of the normal form is
    missed, such as a common denominator under a sum.

    Raises:
        ValueError: a side is not of the calculus, or nowhere defined.
        SympifyError: a side is no expression at all.
        UnsoundError: arithmetic contradicts the proof, by an error of this module.
    """
    x, y = sympify(x, strict=True), sympify(y, strict=True)
    for side in (x, y):
        require_well_formed(side)
    read = _Reader(x, y)
    try:
        proved = _vanishes(add(read(x), multiply(number(-1), read(y))))
    except ZeroDivisionError:
        raise ValueError(f"{x} or {y} is nowhere defined: it divides by 0 or by a delta, or has a logarithm of 0") from None
    if not proved:
        return False
    require_equal(x, y)
    return True


def _vanishes(poly: Poly) -> bool:
    """Whether a polynomial is 0 wherever its terms have a value; a term counts as 0 where one of its deltas is 0.

    It is multiplied by what it is divided by, which is not 0 there. In a term with a delta that is said only where the delta
    is 1, as δ(i,p)/x(i) has been read as δ(i,p)/x(p): what only such terms are divided by is taken from them alone.
    """
    while below := _denominators([term for term in poly if not _deltas(term)]):
        poly = multiply(poly, *below)
    groups = {_deltas(term) for term in poly}
    if not all(groups):
        return False
    parts = [tuple(term for term in poly if _deltas(term) == deltas) for deltas in groups]
    return not any(map(_cleared, parts))


def _cleared(poly: Poly) -> Poly:
    """The numerator of a polynomial over its common denominator."""
    while below := _denominators(poly):
        poly = multiply(poly, *below)
    return poly


def _deltas(term: Term) -> frozenset[Factor]:
    return frozenset(factor for factor, _ in term[0] if factor[0] == "delta")


def _denominators(terms: Iterable[Term]) -> list[Poly]:
    """What polynomials terms are divided by, each to its highest power."""
    lowest: dict[Factor, Fraction] = {}
    for monomial, _ in terms:
        for factor, exponent in monomial:
            if factor[0] == "poly":
                lowest[factor] = min(exponent, lowest.get(factor, exponent))
    return [single(factor, -exponent) for factor, exponent in lowest.items()]


class _Reader:
    """Expressions as polynomials; letters, tensors and indices go by name and number, as two may share a name."""

    def __init__(self, *expressions: Expr) -> None:
        atoms = set().union(*(_named(expression) for expression in expressions))
        alike = defaultdict(list)
        for atom in sorted(atoms, key=identity):
            alike[str(atom)].append(atom)
        self.names = {atom: f"'{name}'{place}" for name, group in alike.items() for place, atom in enumerate(group)}

    def __call__(self, expr: Expr) -> Poly:
        """Read an expression that is well formed."""
        if isinstance(expr, Rational):
            return number(Fraction(int(expr.p), int(expr.q)))
        if isinstance(expr, Symbol | NumberSymbol) and expr != S.Exp1:
            return single(("letter", self.names.get(expr, str(expr)), bool(expr.is_positive)))
        if isinstance(expr, Indexed):
            places = tuple(map(self.index, expr.indices))
            return single(("entry", self.names[expr.base], places, bool(expr.is_positive)))
        if isinstance(expr, KroneckerDelta):
            return delta(*map(self.index, expr.args[:2]))
        if isinstance(expr, Sum):
            poly = self(expr.function)
            for index in expr.variables:
                poly = sum_over(poly, self.index(index))
            return poly
        if isinstance(expr, Add | Mul):
            return (add if isinstance(expr, Add) else multiply)(*map(self, expr.args))
        return self.function(expr)

    def function(self, expr: Expr) -> Poly:
        """Read a power or a function of an expression."""
        if isinstance(expr, exp) or expr == S.Exp1:
            return exponential(self(expr.args[0]) if expr.args else number(1))
        if isinstance(expr, log):
            return logarithm(self(expr.args[0]))
        if isinstance(expr, Pow):
            if isinstance(expr.exp, Rational):
                return power(self(expr.base), Fraction(int(expr.exp.p), int(expr.exp.q)))
            return exponential(multiply(self(expr.exp), logarithm(self(expr.base))))
        return single(("function", expr.func.stem, expr.func.order, self(expr.args[0])))

    def index(self, index: Index) -> Name:
        """Name an index."""
        return self.names[index], self.names[index.size]


def _named(expr: Expr) -> set[Basic]:
    """The letters, tensors and indices of an expression, with the sizes of the latter."""
    letters = expr.atoms(Symbol)
    return letters | {entry.base for entry in expr.atoms(Indexed)} | {a.size for a in letters if isinstance(a, Index)}
