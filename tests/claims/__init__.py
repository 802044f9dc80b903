"""The witnesses of the book's claims, a file for each chapter or half of one.

Under the label of its statement a claim has a proof (SymPy, for symbolic sizes), a
check (float64, against automatic differentiation, over random problems), and wrong
formulas that this check must reject. ``witnesses`` makes tests of them, ``record``
notes what they said.
"""
