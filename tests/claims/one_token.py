"""One token with a hard label as expressions: its own prototype, and k others."""

from sympy import exp, log

from claims.symbols import a, j, theta
from imr.symbolic import d, derivative, tensors, total

own, z, u = tensors("theta_c z u", d)


def margin(z, j):
    """(θ_c − θ_j)·z."""
    return total((own[a] - theta[j, a]) * z[a], a)


def rival(j):
    """e^{−m_j}, the odds of class j against the own one."""
    return exp(-margin(z, j))


def rivals():
    """S = Σ_j e^{−m_j}, the odds of all others."""
    return total(rival(j), j)


def score(j):
    """θ_j·z."""
    return total(theta[j, a] * z[a], a)


OWN = total(own[a] * z[a], a)
LOSS = log(exp(OWN) + total(exp(score(j)), j)) - OWN


def velocity(b):
    """ż = −∇L."""
    return -derivative(LOSS, z[b])


def pull(b):
    """v = Σ_j q_j (θ_c − θ_j), a mean difference: q_j = e^{−m_j}/S."""
    return total(rival(j) * (own[b] - theta[j, b]), j) / rivals()
