"""What decides inequalities: z3 for polynomials, intervals for numbers."""

import z3
from mpmath import iv
from sympy import lambdify, symbols


def follows(claim, *given):
    """Whether z3 finds no reals with all that is given and without the claim."""
    solver = z3.Solver()
    solver.add(*given, z3.Not(claim))
    return solver.check() == z3.unsat


def enclosed(expr, **values):
    """An interval that surely holds a formula's value; its letters are real."""
    names = symbols(list(values), real=True)
    functions = {"exp": iv.exp, "log": iv.log}
    value = lambdify(names, expr, modules=[functions, "mpmath"])
    return value(*map(iv.mpf, values.values()))
