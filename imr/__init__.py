"""imr: attention is a gradient step of multinomial regression on the features.

The rooms, each importing only what stands to its left::

    potentials -> attention -> flow -> blocks -> experiment

``potentials`` holds the scalars L(Z, θ), ``attention`` their gradients in closed form, ``flow`` the gradient flow and its
integrators, ``blocks`` one step of it as an ``nn.Module``, ``experiment`` the study on Fashion-MNIST. Beside the way:
``data`` (images), ``symbolic`` (the index calculus on SymPy, which knows no torch), ``check`` and ``figures``.

Reference: Actor, Gruber, Cyr, "Deriving Transformer Architectures as Implicit Multinomial Regression", arXiv 2509.04653.
"""

__version__ = "0.1.0"
