"""Formulas as mathematics: LaTeX in the book's notation."""

from sympy import Expr, Indexed, KroneckerDelta, exp
from sympy.printing.latex import LatexPrinter


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
        name = self._print(expr.base.label)
        name = f"{{{name}}}" if "_" in name else name  # TeX has one subscript for a name, unless it is in braces
        return rf"{name}_{{{''.join(map(self._print, expr.indices))}}}"

    def _print_KroneckerDelta(self, expr: KroneckerDelta, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\delta_{{{''.join(map(self._print, expr.args))}}}{power}"

    def _needs_mul_brackets(self, expr: Expr, first: bool = False, last: bool = False) -> bool:
        return not isinstance(expr, exp) and super()._needs_mul_brackets(expr, first, last)
