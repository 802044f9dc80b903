"""What decides inequalities: z3 for polynomials, intervals for numbers."""

import z3
from mpmath import iv
from sympy import lambdify, symbols


def follows(claim: z3.BoolRef, *given: z3.BoolRef) -> bool:
    """Whether z3 proves the claim from what is given, for all real numbers."""
    solver = z3.Solver()
    solver.add(*given, z3.Not(claim))
    return solver.check() == z3.unsat


def enclosed(expr, **values):
    """An interval that surely holds a formula's value; its letters are real."""
    names = symbols(list(values), real=True)
    functions = {"exp": iv.exp, "log": iv.log}
    value = lambdify(names, expr, modules=[functions, "mpmath"])
    return value(*map(iv.mpf, values.values()))
