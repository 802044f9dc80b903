"""Unknown functions, whose slopes are unknown functions too.

SymPy's own slope at an argument, a ``Subs``, is equal to that at another argument that prints alike, an index of another
range or a letter of other assumptions, say: in sums of such it would cancel what differs.
"""

import copyreg

from sympy.core.function import AppliedUndef, UndefinedFunction


class Unknown(AppliedUndef):
    """A value of an unknown function. Its slope is one too."""

    def fdiff(self, argindex: int = 1) -> "Unknown":
        """Return the derivative at the argument, as SymPy asks for it."""
        return UnknownFunction(self.func.stem, self.func.order + 1)(*self.args)


class UnknownFunction(UndefinedFunction):
    """An unknown real function of one real argument, or its derivative of an order: ``g = function("g")``."""

    def __new__(cls, stem: str, order: int = 0) -> "UnknownFunction":
        """Make g, g', g'', …

        Raises:
            ValueError: the name is none that g' could be told from.
        """
        if not (isinstance(stem, str) and stem.isidentifier()):
            raise ValueError(f"a function is called {stem!r}, expected a name such as 'g'; g' is g(x).diff(x)")
        function = super().__new__(cls, stem + order * "'", (Unknown,))
        function.stem, function.order = stem, order
        return function

    def __init__(cls, stem: str, order: int = 0) -> None:
        """See to it that SymPy finds the name alone."""
        super().__init__(stem)


def function(name: str) -> type:
    """An unknown function, all of whose derivatives exist: ``g = function("g")``, then ``g(x)`` and ``g(x).diff(x)``.

    Raises:
        ValueError: the name is no identifier.
    """
    return UnknownFunction(name)


copyreg.pickle(UnknownFunction, lambda function: (UnknownFunction, (function.stem, function.order)))
