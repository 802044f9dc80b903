"""The normal form behind ``same``: a sum of monomials in factors, equal for many sums that are written differently.

A polynomial is a sum of monomials with rational coefficients; a monomial is a product of factors with rational exponents.
A factor is a letter, an entry, a delta, an exponential of one monomial, a logarithm, a function, a polynomial that is
divided by (or has a root taken), or a *connected* sum: one monomial summed over indices, each factor of which hangs with the
others by these indices. Bound indices have no names but numbers, in the order that makes the whole come first in print.

Each function below rewrites by an identity between real numbers that holds wherever both of its sides are defined.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import reduce
from itertools import count, permutations, product
from math import floor

from sympy import Rational, factorrat

from imr.symbolic.factors import (
    ONE,
    Factor,
    Monomial,
    Name,
    Poly,
    Term,
    add,
    height,
    mentioned,
    nonnegative,
    number,
    positive,
    printed,
    single,
)

_fresh = count(1)


def multiply(*polys: Poly) -> Poly:
    """p q, expanded."""
    return reduce(lambda p, q: add(*(_product(s, t) for s in p for t in q)), polys, ONE)


def delta(one: Name, other: Name) -> Poly:
    """δ of two indices of one range."""
    return ONE if one == other else single(("delta", *sorted((one, other))))


def exponential(poly: Poly) -> Poly:
    """exp(Σ c m) = Π exp(m)^c; and exp(c log p) = p^c."""
    powers = []
    for monomial, coefficient in poly:
        (factor, exponent), *more = monomial or [(("",), 0)]
        if factor[0] == "log" and exponent == 1 and not more:
            powers.append(power(factor[1], coefficient))
        else:
            powers.append(single(("exp", monomial), coefficient))
    return multiply(*powers)


def logarithm(poly: Poly) -> Poly:
    """log(exp(m)^c p^e q) = c m + e log p + log q for positive p, prime numbers among them.

    Raises:
        ZeroDivisionError: the polynomial is 0.
    """
    if not poly:
        raise ZeroDivisionError
    (content, coefficient), rest = _content(poly)
    out = [multiply(number(e), single(("log", number(prime)))) for prime, e in factorrat(Rational(abs(coefficient))).items()]
    inside = []
    for factor, exponent in content:
        if factor[0] == "exp":
            out.append(((factor[1], exponent),))
        elif positive(factor):
            base = factor[1] if factor[0] == "poly" else single(factor)
            out.append(multiply(number(exponent), single(("log", base))))
        else:
            inside.append((factor, exponent))
    kept = multiply(((tuple(inside), coefficient / abs(coefficient)),), rest)
    return add(*out) if kept == ONE else add(*out, single(("log", kept)))


def power(poly: Poly, exponent: Fraction) -> Poly:
    """p^e: expanded for e = 1, 2, …, and for other whole e, factor by factor; see ``_root`` for the rest.

    Raises:
        ZeroDivisionError: the exponent is negative, and the base 0 or a multiple of a delta.
    """
    if exponent >= 0 and exponent.denominator == 1:
        return multiply(*[poly] * int(exponent))
    if exponent < 0 and (not poly or (len(poly) == 1 and any(factor[0] == "delta" for factor, _ in poly[0][0]))):
        raise ZeroDivisionError
    if not poly or exponent.denominator > 1:
        return _root(poly, exponent) if poly else poly
    (content, coefficient), rest = _content(poly)
    outside = multiply(number(coefficient**exponent), *[single(factor, e * exponent) for factor, e in content])
    return outside if rest == ONE else multiply(outside, single(("poly", rest), exponent))


def sum_over(poly: Poly, index: Name) -> Poly:
    """Σ over an index: term by term, constants outside, Σₐ δ(a,q) f(a) = f(q), sums of products as one sum."""
    return add(*(multiply(number(c), _sum_term(monomial, index)) for monomial, c in poly))


def substitute(poly: Poly, names: Mapping[Name, Name]) -> Poly:
    """Put indices in the place of free ones."""
    return add(*(multiply(number(c), *(_renamed(f, e, names) for f, e in m)) for m, c in poly))


def _root(poly: Poly, exponent: Fraction) -> Poly:
    """(pq)^e = p^e q^e for positive p, prime numbers among them; and where no factor is negative, for all of them."""
    (content, coefficient), rest = _content(poly)
    alone = rest == ONE and coefficient > 0 and all(nonnegative(factor) for factor, _ in content)
    outside = [(factor, e) for factor, e in content if positive(factor) or alone]
    inside = tuple((factor, e) for factor, e in content if (factor, e) not in outside)
    out = [single(factor, e * exponent) for factor, e in outside]
    out += [single(("poly", number(prime)), e * exponent) for prime, e in factorrat(Rational(abs(coefficient))).items()]
    kept = multiply(((inside, coefficient / abs(coefficient)),), rest)
    return multiply(*out) if kept == ONE else multiply(*out, single(("poly", kept), exponent))


def _product(one: Term, other: Term) -> Poly:
    """Add exponents; where deltas are met, put one index for all that they make equal."""
    exponents: dict[Factor, Fraction] = {}
    for factor, exponent in (*one[0], *other[0]):
        exponents[factor] = exponents.get(factor, Fraction(0)) + exponent
    whole = {f: Fraction(1) if f[0] == "delta" else e for f, e in exponents.items() if e}
    opened = [power(f[1], Fraction(floor(e))) for f, e in whole.items() if _opens(f, e)]
    whole |= {f: e - floor(e) for f, e in whole.items() if _opens(f, e)}
    factors = tuple(sorted(((f, e) for f, e in whole.items() if e), key=printed))
    poly = _apply_deltas(factors, one[1] * other[1])
    return multiply(poly, *opened) if opened else poly


def _opens(factor: Factor, exponent: Fraction) -> bool:
    """Whether a polynomial to a power is to be expanded, or a number has a whole power to give away."""
    is_number = factor[0] == "poly" and factor[1][0][0] == ()
    return factor[0] == "poly" and ((exponent.denominator == 1 and exponent > 0) or (is_number and not 0 < exponent < 1))


def _apply_deltas(factors: Monomial, coefficient: Fraction) -> Poly:
    """δ(i,p) f(i) = δ(i,p) f(p), p being the index that comes first in print."""
    first: dict[Name, Name] = {}
    for (kind, *pair), _ in factors:
        if kind == "delta":
            known = [first.get(index, index) for index in pair]
            equal = {index for index in (*first, *pair) if first.get(index, index) in known}
            first |= dict.fromkeys(equal, min(equal))
    rest = tuple((f, e) for f, e in factors if f[0] != "delta")
    deltas = tuple(sorted(((("delta", new, old), Fraction(1)) for old, new in first.items() if old != new), key=printed))
    if not any(first.get(index, index) != index for f, _ in rest for index in mentioned(f)):
        return ((tuple(sorted((*rest, *deltas), key=printed)), coefficient),)
    moved = substitute(((rest, coefficient),), first)
    return add(*(_product(term, (deltas, Fraction(1))) for term in moved))


def _sum_term(monomial: Monomial, index: Name) -> Poly:
    for place, (factor, _) in enumerate(monomial):
        if factor[0] == "delta" and index in factor:
            (other,) = set(factor[1:]) - {index}
            return substitute(((monomial[:place] + monomial[place + 1 :], Fraction(1)),), {index: other})
    constant = tuple((f, e) for f, e in monomial if index not in mentioned(f))
    rest = [(f, e) for f, e in monomial if index in mentioned(f)]
    if not rest:
        return multiply(((constant, Fraction(1)),), single(("letter", index[1], True)))
    bound, inner = [index], [ONE]
    for factor, exponent in rest:
        if factor[0] == "sum" and exponent.denominator == 1 and exponent > 0:
            for _ in range(int(exponent)):
                names, opened = _opened(factor)
                bound += names
                inner.append(opened)
        else:
            inner.append(single(factor, exponent))
    # Each factor of an opened sum hangs with its indices: none meets another that it could be added to, or cancel.
    ((whole, coefficient),) = multiply(*inner)
    return multiply(((constant, coefficient),), _connected(bound, whole))


def _connected(bound: list[Name], monomial: Monomial) -> Poly:
    """A sum of which each factor hangs with the others; Σᵢ Σⱼ fᵢⱼ / Σⱼ fᵢⱼ, a quotient of equal sums, is taken out first."""
    below = {factor for factor, exponent in monomial if factor[0] == "sum" and exponent < 0}
    for index in bound if below else ():
        summed = tuple(pair for pair in monomial if index in mentioned(pair[0]))
        ((part, coefficient),) = _numbered([index], (summed, Fraction(1)))
        if part[0][0] in below:
            rest = tuple(pair for pair in monomial if pair not in summed)
            left = multiply(((part, coefficient),), ((rest, Fraction(1)),))
            return reduce(sum_over, (other for other in bound if other != index), left)
    return _numbered(bound, (monomial, Fraction(1)))


def _opened(factor: Factor) -> tuple[list[Name], Poly]:
    """Give the indices of a connected sum names that stand nowhere else."""
    _, bound, monomial = factor
    names = {index: (f"_{next(_fresh)}", index[1]) for index in bound}
    return list(names.values()), substitute(((monomial, Fraction(1)),), names)


def _numbered(bound: list[Name], term: Term) -> Poly:
    """One connected sum, its indices numbered from where the sums inside end, in the order that comes first in print."""
    low = max((height(factor) for factor, _ in term[0]), default=0)
    candidates = []
    for order in _orders(bound):
        names = {index: (f"#{low + place}", index[1]) for place, index in enumerate(order)}
        ((monomial, coefficient),) = substitute((term,), names)
        candidates.append((("sum", tuple(names.values()), monomial), coefficient))
    factor, coefficient = min(candidates, key=printed)
    return multiply(number(coefficient), single(factor))


def _orders(bound: list[Name]) -> Iterator[list[Name]]:
    """Every order of the indices that keeps sizes sorted: only those of one size change places."""
    groups = [[index for index in bound if index[1] == size] for size in sorted({size for _, size in bound})]
    for choice in product(*[permutations(group) for group in groups]):
        yield [index for group in choice for index in group]


def _content(poly: Poly) -> tuple[tuple[Monomial, Fraction], Poly]:
    """A polynomial as a monomial times one without a common factor, whose first coefficient is 1."""
    factors = dict.fromkeys(factor for monomial, _ in poly for factor, _ in monomial if factor[0] != "delta")
    powers = [dict(monomial) for monomial, _ in poly]
    lowest = {f: min(p.get(f, Fraction(0)) for p in powers) for f in factors}
    common = tuple(sorted(((f, e) for f, e in lowest.items() if e), key=printed))
    rest = multiply(poly, *(single(f, -e) for f, e in common))
    return (common, rest[0][1]), multiply(number(1 / rest[0][1]), rest)


def _renamed(factor: Factor, exponent: Fraction, names: Mapping[Name, Name]) -> Poly:
    if not mentioned(factor) & names.keys():
        return single(factor, exponent)
    kind, *parts = factor
    if kind == "entry":
        poly = single(("entry", parts[0], tuple(names.get(index, index) for index in parts[1]), parts[2]))
    elif kind == "delta":
        poly = delta(*(names.get(index, index) for index in parts))
    elif kind == "exp":
        poly = exponential(substitute(((parts[0], Fraction(1)),), names))
    elif kind == "log":
        poly = logarithm(substitute(parts[0], names))
    elif kind == "function":
        poly = single(("function", parts[0], substitute(parts[1], names)))
    elif kind == "poly":
        poly = substitute(parts[0], names)
    else:
        bound, opened = _opened(factor)
        poly = reduce(sum_over, bound, substitute(opened, names))
    return power(poly, exponent)
