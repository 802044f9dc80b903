"""What the index calculus speaks of: indices with a range, tensors with a shape, sums over the whole range of an index.

An index belongs to one size and runs from 1 to it wherever it stands; a tensor has a size for each of its places. So no
formula can compare an index with one of another range, or leave a range: it cannot be written.
"""

from collections.abc import Callable, Iterable, Mapping

from sympy import (
    Add,
    Basic,
    Expr,
    Indexed,
    IndexedBase,
    KroneckerDelta,
    Mul,
    Number,
    NumberSymbol,
    Pow,
    Rational,
    Sum,
    Symbol,
    exp,
    log,
    symbols,
    sympify,
)

from imr.symbolic.functions import Unknown

n, d, k, r = symbols("n d k r", integer=True, positive=True)
"""The sizes: tokens n, features d, classes k, rank r."""

_serials = [0]
"""The largest serial number of an index so far."""


class Index(Symbol):
    """An integer that runs from 1 to its size: ``Index("i", n)``. Indices of one name and one size are the same index."""

    __slots__ = ("serial", "size")

    def __new__(cls, name: str, size: Symbol, serial: int = 0) -> "Index":
        """Make an index; the serial number tells apart those that the calculus makes itself.

        Raises:
            ValueError: the size is no letter that stands for a positive integer.
        """
        if not isinstance(size, Symbol) or isinstance(size, Index) or not (size.is_integer and size.is_positive):
            raise ValueError(
                f"the index {name} runs to {size}, expected a size, such as symbols('n', integer=True, positive=True)"
            )
        index = Symbol.__xnew__(cls, name, integer=True, positive=True)
        index.size, index.serial = size, serial
        _serials[0] = max(_serials[0], serial)
        return index

    def _hashable_content(self) -> tuple:
        return (*super()._hashable_content(), self.size, self.serial)

    def __getnewargs_ex__(self) -> tuple:
        """Return what pickle makes the index anew from."""
        return (self.name, self.size, self.serial), {}

    def fresh(self) -> "Index":
        """Return an index of the same name and range that stands nowhere else."""
        return Index(self.name, self.size, _serials[0] + 1)


class Tensor(IndexedBase):
    """A symbol of given shape with real entries: ``Tensor("Z", (n, d))``, then ``Z[i, a]`` for i up to n and a up to d."""

    def __getitem__(self, places: Index | tuple[Index, ...]) -> Indexed:
        """Return an entry.

        Raises:
            ValueError: the indices are not as many as the shape has sizes, or one has another range.
        """
        places = places if isinstance(places, tuple) else (places,)
        _require_places(self, places)
        return Indexed(self, *places)


def indices(names: str, size: Symbol) -> tuple[Index, ...]:
    """Indices that run from 1 to a size: ``i, j = indices("i j", n)``."""
    return tuple(Index(name, size) for name in names.split())


def tensors(names: str, *shape: Symbol, positive: bool = False) -> tuple[Tensor, ...]:
    """Tensors of one shape: ``Z, B = tensors("Z B", n, d)``. Their entries are real; or positive, if so said."""
    sign = {"positive": True} if positive else {"real": True}
    return tuple(Tensor(name, shape, **sign) for name in names.split())


def total(term: Expr | int, *over: Index) -> Expr:
    """Σ of a term over one or more indices: ``total(Z[i, a] * theta[j, a], a)`` is Σₐ₌₁ᵈ Z_ia θ_ja.

    Raises:
        ValueError: what is summed over is no index, or the same one twice.
    """
    for index in over:
        if not isinstance(index, Index):
            raise ValueError(f"{index} is no index, expected one of indices('a', d): its range is its own")
    if len(set(over)) < len(over):
        raise ValueError(f"the sum runs over {', '.join(map(str, over))}: an index stands there twice, expected each once")
    return Sum(term, *[(index, 1, index.size) for index in over])


def log_sum_exp(logits: Callable[[Index], Expr], over: Index) -> Expr:
    """LSE = log Σⱼ exp(N_j), the logits given as a function of the index :eq:`eq-lse`.

    Raises:
        ValueError: the logits have the index ``over`` in them already; the sum would capture it.
    """
    return log(total(exp(_at(logits, over)), over))


def softmax(logits: Callable[[Index], Expr], entry: Index, over: Index) -> Expr:
    """σ_entry = exp(N_entry) / Σⱼ exp(N_j), the logits given as a function of the index :eq:`eq-softmax`.

    Raises:
        ValueError: ``entry`` and ``over`` have different ranges, or the logits have the index ``over`` in them already.
    """
    if entry.size != over.size:
        raise ValueError(f"the entry {entry} runs to {entry.size}, the sum over {over} to {over.size}; expected one range")
    return exp(_at(logits, entry, bound=False)) / total(exp(_at(logits, over)), over)


def rename(expr: Expr, names: Mapping[Index, Index]) -> Expr:
    """Put indices in the place of free ones; a sum that would capture one gets another index first."""
    if not expr.free_symbols & names.keys():
        return expr
    if isinstance(expr, Sum):
        free = {index: new for index, new in names.items() if index not in expr.variables}
        own = {index: index.fresh() if index in free.values() else index for index in expr.variables}
        return total(rename(expr.function, free | own), *own.values())
    if isinstance(expr, Index):
        return names[expr]
    return expr.func(*[rename(argument, names) for argument in expr.args])


def require_well_formed(expr: Expr) -> None:
    """Raise ValueError, naming the part, if an expression is none of this language."""
    if isinstance(expr, Index):
        raise ValueError(f"the index {expr} stands as a number in the formula: an index only says which entry is meant")
    if isinstance(expr, Indexed):
        _require_places(expr.base, expr.indices)
    elif isinstance(expr, KroneckerDelta):
        _require_delta(expr)
    elif isinstance(expr, Sum):
        _require_limits(expr)
        require_well_formed(expr.function)
    elif isinstance(expr, Number | NumberSymbol | Symbol):
        _require_real(expr)
    elif isinstance(expr, Add | Mul | Pow | exp | log) or (isinstance(expr, Unknown) and len(expr.args) == 1):
        for argument in expr.args:
            require_well_formed(argument)
    else:
        raise ValueError(f"{expr} is no part of the calculus, which has sums, products, powers, exp, log and function('g')")


def identity(atom: Basic) -> str:
    """What tells letters, indices and tensors apart, also those of one name; the same in each session, but for dummies."""
    marks = [getattr(atom, name, "") for name in ("dummy_index", "serial")]
    sizes = [identity(size) for size in (getattr(atom, "size", None), *(getattr(atom, "shape", None) or ())) if size]
    return f"{atom}{sorted(atom.assumptions0.items())}{marks}{sizes}"


def _at(logits: Callable[[Index], Expr], index: Index, bound: bool = True) -> Expr:
    """The logits at an index, whatever they sum over themselves; one that will be bound must be new to them."""
    slot = index.fresh()
    term = sympify(logits(slot))
    if bound and index in term.free_symbols:
        raise ValueError(f"the logits have {index} in them already, and a sum over it would capture it: take another index")
    return rename(term, {slot: index})


def _require_places(base: IndexedBase, places: Iterable[Expr]) -> None:
    if base.label.assumptions0 not in _KINDS[:3]:
        raise ValueError(f"{base} has entries that are not every real or positive number: {_ASSUMED}")
    if not isinstance(base, Tensor) or not base.shape:
        raise ValueError(f"{base} has no shape, expected one of tensors('{base}', n, d)")
    shape, places = tuple(base.shape), tuple(places)
    if len(places) != len(shape):
        raise ValueError(f"{base} has the shape {shape}, expected {len(shape)} indices, not {len(places)}")
    for place, size in zip(places, shape, strict=True):
        if not isinstance(place, Index):
            raise ValueError(f"{base} is taken at {place}, which is no index; expected one of indices('a', {size})")
        if place.size != size:
            raise ValueError(
                f"{base} has the shape {shape}, and {place} runs to {place.size}; expected one that runs to {size}"
            )


def _require_delta(delta: KroneckerDelta) -> None:
    one, other, *given = delta.args
    if not (isinstance(one, Index) and isinstance(other, Index)):
        raise ValueError(f"{delta} compares something that is no index: expected two indices of one range")
    if one.size != other.size or any(tuple(ends) != (1, one.size) for ends in given):
        raise ValueError(f"{delta} joins {one} and {other}, which run to {one.size} and {other.size}; expected one range")


def _require_limits(total: Sum) -> None:
    for index, *ends in total.limits:
        if not isinstance(index, Index) or ends != [1, index.size]:
            raise ValueError(
                f"{total} runs over {(index, *ends)}, expected an index over its whole range, as total makes it"
            )
    if len(set(total.variables)) < len(total.variables):
        raise ValueError(f"{total} runs twice over one index, expected each once")


def _require_real(leaf: Expr) -> None:
    if isinstance(leaf, Symbol) and leaf.assumptions0 not in _KINDS:
        raise ValueError(f"{leaf} is no letter for every real, positive or whole number: {_ASSUMED}")
    if not isinstance(leaf, Rational | NumberSymbol | Symbol):
        raise ValueError(f"{leaf} is no exact real number and no letter for one; write 1/10 as Rational(1, 10), not as 0.1")


_ASSUMED = "expected no other assumptions than real, positive and integer"
_KINDS = [
    Symbol("x", **dict.fromkeys(assumed, True)).assumptions0
    for assumed in ((), ("real",), ("positive",), ("integer",), ("integer", "positive"))
]
