"""Formulas as mathematics: LaTeX in the book's notation."""

from sympy import Expr, Indexed, KroneckerDelta, Sum, exp
from sympy.printing.latex import LatexPrinter

from imr.symbolic.language import Index, rename, total


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
    return _Printer().doprint(_told_apart(expr))


def _told_apart(expr: Expr) -> Expr:
    """Give a bound index a prime where another index of its name is free in what is summed."""
    if isinstance(expr, Sum):
        term, over = expr.function, []
        for index in expr.variables:
            others = {a.name for a in {*term.free_symbols, *expr.variables} if isinstance(a, Index) and a != index}
            new = index
            while new.name in others:
                new = Index(new.name + "'", new.size)
            term, over = rename(term, {index: new}), [*over, new]
        return total(_told_apart(term), *over)
    return expr if not expr.args or isinstance(expr, Indexed) else expr.func(*map(_told_apart, expr.args))


class _Printer(LatexPrinter):
    def _print_Indexed(self, expr: Indexed) -> str:
        name = self._print(expr.base.label)
        name = f"{{{name}}}" if "_" in name else name  # TeX has one subscript for a name, unless it is in braces
        return rf"{name}_{{{''.join(map(self._print, expr.indices))}}}"

    def _print_KroneckerDelta(self, expr: KroneckerDelta, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\delta_{{{''.join(map(self._print, expr.args))}}}{power}"

    def _hprint_Function(self, func: str) -> str:
        stem = func.rstrip("'")
        return super()._hprint_Function(stem) + func[len(stem) :]

    def _needs_mul_brackets(self, expr: Expr, first: bool = False, last: bool = False) -> bool:
        return not isinstance(expr, exp) and super()._needs_mul_brackets(expr, first, last)
