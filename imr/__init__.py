"""imr: attention is a gradient step of multinomial regression on the features.

The rooms, each importing only what stands to its left::

    inputs -> potentials -> attention -> flow -> blocks -> convolution, splitting -> experiment

``inputs`` says what does not fit, ``potentials`` holds the scalars L(Z, θ), ``attention`` their gradients in closed form,
``flow`` the gradient flow and its integrators, ``blocks`` one Euler step of it as an ``nn.Module``, ``convolution`` all
of this where the tokens are the neighbourhoods of an image, ``splitting`` the steps of several flows in turn, and
``experiment`` the study on Fashion-MNIST.

Beside the way: ``data`` (images, by way of ``vision``), ``symbolic`` (the index calculus on SymPy, which knows no torch),
``answers`` (judges those of the exercises), ``check`` (numbers and digests that notebooks print), ``figures`` and
``interactive`` (pictures), ``files`` (written in one move, so that nobody reads half of one).

Reference: Actor, Gruber, Cyr, "Deriving Transformer Architectures as Implicit Multinomial Regression", arXiv 2509.04653.
"""

__version__ = "0.1.0"
