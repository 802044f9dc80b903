"""The normal form behind ``same``: a sum of monomials in factors, equal for many sums that are written differently.

A polynomial is a sum of monomials with rational coefficients; a monomial is a product of factors with rational exponents.
A factor is a letter, an entry, a delta, an exponential of one monomial, a logarithm, a function, a polynomial that is
divided by (or has a root taken), or a *connected* sum: one monomial summed over indices, each factor of which hangs with the
others by these indices. Bound indices have no names but numbers, in the order that makes the whole come first in print.

Each function below rewrites by an identity between real numbers that holds wherever both of its sides are defined.
"""

from collections.abc import Mapping
from fractions import Fraction
from functools import reduce
from itertools import count
from math import floor, gcd, lcm

from sympy import Rational, factorrat

from imr.symbolic.factors import (
    LARGE,
    ONE,
    Factor,
    Monomial,
    Name,
    Poly,
    Term,
    add,
    delta,
    height,
    made_equal,
    mentioned,
    nonnegative,
    number,
    orders,
    positive,
    printed,
    shared,
    single,
)

_fresh = count(1)


def multiply(*polys: Poly) -> Poly:
    """p q, expanded."""
    factors = [poly for poly in polys if poly != ONE] or [ONE]
    return reduce(lambda p, q: add(*(_product(s, t) for s in p for t in q)), factors)


def exponential(poly: Poly) -> Poly:
    """exp(Σ c m) = Π exp(m)^c; and exp(c log p) = p^c."""
    powers = []
    for monomial, coefficient in poly:
        match monomial:
            case ((("log", inside), 1),):
                powers.append(power(inside, coefficient))
            case _:
                powers.append(single(("exp", monomial), coefficient))
    return multiply(*powers)


def logarithm(poly: Poly) -> Poly:
    """log(exp(m)^c p^e q) = c m + e log p + log q for p that are not negative by their form, prime numbers among them.

    Raises:
        ZeroDivisionError: the polynomial is 0.
    """
    content, scale, rest = _content(poly)
    out = [multiply(number(e), single(("log", number(prime)))) for prime, e in factorrat(Rational(scale)).items()]
    inside = []
    for factor, exponent in content:
        if factor[0] == "exp":
            out.append(((factor[1], exponent),))
        elif factor[0] in ("poly", "root") and nonnegative(factor):
            out.append(multiply(number(exponent), logarithm(factor[1])))
        elif nonnegative(factor):
            out.append(multiply(number(exponent), single(("log", single(factor)))))
        else:
            inside.append((factor, exponent))
    kept = multiply(((tuple(inside), Fraction(1)),), rest)
    return add(*out) if kept == ONE else add(*out, single(("log", kept)))


def power(poly: Poly, exponent: Fraction) -> Poly:
    """p^e: expanded for e = 1, 2, …, factor by factor for e = −1, −2, …; and p^(w+e) = p^w p^e for a whole w and 0 < e < 1.

    Raises:
        ZeroDivisionError: the exponent is negative, and the base 0 or a multiple of a delta.
        ValueError: a sum is raised to a power that is too large to expand.
    """
    whole, part = divmod(exponent, 1)
    if part:
        return multiply(power(poly, Fraction(whole)), _root(poly, part)) if poly or whole < 0 else poly
    if exponent > 0 and len(poly) == 1:
        powers = [single(f, 1 if f[0] == "delta" else e * whole) for f, e in poly[0][0]]
        return multiply(number(poly[0][1] ** whole), *powers)
    if exponent > LARGE:
        raise ValueError(f"a sum is raised to the power {exponent}, expected {LARGE} at most: it is expanded")
    if exponent >= 0:
        return multiply(*[poly] * whole)
    if len(poly) == 1 and any(factor[0] == "delta" for factor, _ in poly[0][0]):
        raise ZeroDivisionError
    content, scale, rest = _content(poly)
    sign = 1 if rest[0][1] > 0 else -1
    outside = multiply(number((sign * scale) ** whole), *[single(factor, e * whole) for factor, e in content])
    rest = multiply(number(sign), rest)
    return outside if rest == ONE else multiply(outside, single(("poly", rest), exponent))


def sum_over(poly: Poly, index: Name) -> Poly:
    """Σ over an index: term by term, constants outside, Σₐ δ(a,q) f(a) = f(q), sums of products as one sum."""
    return add(*(multiply(number(c), _sum_term(monomial, index)) for monomial, c in poly))


def substitute(poly: Poly, names: Mapping[Name, Name]) -> Poly:
    """Put indices in the place of free ones."""
    return add(*(multiply(number(c), *(_renamed(f, e, names) for f, e in m)) for m, c in poly))


def _root(poly: Poly, exponent: Fraction) -> Poly:
    """(pq)^e = p^e q^e for positive p, prime numbers among them; and where no factor is negative, for all of them."""
    content, scale, rest = _content(poly)
    alone = rest == ONE and all(nonnegative(factor) for factor, _ in content)
    outside = [(factor, e) for factor, e in content if positive(factor) or alone]
    inside = tuple(pair for pair in content if pair not in outside)
    out = [power(f[1], e * exponent) if f[0] in ("poly", "root") else single(f, e * exponent) for f, e in outside]
    out += [single(("root", number(prime)), e * exponent) for prime, e in factorrat(Rational(scale)).items()]
    kept = multiply(((inside, Fraction(1)),), rest)
    return multiply(*out) if kept == ONE else multiply(*out, single(("root", kept), exponent))


def _product(one: Term, other: Term) -> Poly:
    """Add exponents; where deltas are met, put one index for all that they make equal."""
    exponents: dict[Factor, Fraction] = {}
    for factor, exponent in (*one[0], *other[0]):
        exponents[factor] = exponents.get(factor, Fraction(0)) + exponent
    whole = {f: e for f, e in exponents.items() if e}
    whole_powers = {f: floor(e) for f, e in whole.items() if f[0] == "root" or (f[0] == "poly" and e > 0)}
    opened = [power(f[1], Fraction(e)) for f, e in whole_powers.items() if e]
    whole |= {f: whole[f] - e for f, e in whole_powers.items()}
    factors = tuple(sorted(((f, e) for f, e in whole.items() if e), key=printed))
    poly = _apply_deltas(factors, one[1] * other[1])
    return multiply(poly, *opened) if opened else poly


def _apply_deltas(factors: Monomial, coefficient: Fraction) -> Poly:
    """δ(i,p) f(i) = δ(i,p) f(p), p being the index that comes first in print."""
    first = made_equal(factors)
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
    low = max(height(factor) for factor, _ in term[0])

    def look(index: Name) -> str:
        masked = {other: ("?", other[1]) for other in bound} | {index: ("!", index[1])}
        return printed(substitute((term,), masked))

    candidates = []
    for order in orders(bound, look):
        names = {index: (f"#{low + place}", index[1]) for place, index in enumerate(order)}
        ((monomial, coefficient),) = substitute((term,), names)
        candidates.append((("sum", tuple(names.values()), monomial), coefficient))
    factor, coefficient = min(candidates, key=printed)
    return multiply(number(coefficient), single(factor))


def _content(poly: Poly) -> tuple[Monomial, Fraction, Poly]:
    """A polynomial as a monomial times a positive number times a polynomial of whole coefficients without a common factor.

    Raises:
        ZeroDivisionError: the polynomial is 0.
    """
    common = shared(poly)
    rest = multiply(poly, *(single(f, -e) for f, e in common))
    if not rest:
        raise ZeroDivisionError
    scale = Fraction(gcd(*(c.numerator for _, c in rest)), lcm(*(c.denominator for _, c in rest)))
    return common, scale, multiply(number(1 / scale), rest)


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
        poly = single(("function", *parts[:2], substitute(parts[2], names)))
    elif kind in ("poly", "root"):
        poly = substitute(parts[0], names)
    else:
        bound, opened = _opened(factor)
        poly = reduce(sum_over, bound, substitute(opened, names))
    return power(poly, exponent)
