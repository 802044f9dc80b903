"""The symbolic witnesses: each proves its claim for symbolic n, d, k, or refutes a universal by an exact example."""

import pytest
from sympy import (
    Eq,
    Function,
    Integer,
    KroneckerDelta,
    LambertW,
    Piecewise,
    Rational,
    S,
    Symbol,
    diff,
    erf,
    exp,
    expand,
    factorial,
    log,
    pi,
    simplify,
    solve,
    sqrt,
    symbols,
)

from imr.symbolic import contract, d, derivative, indices, k, log_sum_exp, n, r, same, softmax, tensors, total, unfold

i, j, l, m, p, q, a, b, c, g, u, v = indices("i j l m p q a b c g u v")
Z, K, theta, phi, C, G, N, sigma, B = tensors("Z K theta phi C G N sigma B")
s, V, w, x, y, z, mu, weight, U, W = tensors("s V w x y z mu pi U W")


def proves(claim):
    """Mark a test as the symbolic witness of a claim."""
    return pytest.mark.witness(claim, "symbolic")


def logits(i, j):
    """(Zθᵀ)_ij."""
    return total(Z[i, a] * theta[j, a], (a, d))


def at_tokens(i, q):
    """(Zθ)_iq."""
    return total(Z[i, a] * theta[a, q], (a, d))


def at_tokens_transposed(j, q):
    """(Zθᵀ)_jq."""
    return total(Z[j, b] * theta[q, b], (b, d))


def quadratic_logits(i, j):
    """(ZθZᵀ)_ij."""
    return total(Z[i, a] * theta[a, b] * Z[j, b], (a, d), (b, d))


def lse(i, logits=logits, over=(j, k)):
    return log_sum_exp(lambda j: logits(i, j), over)


LINEAR = {sigma: lambda i, j: softmax(lambda j: logits(i, j), j, (l, k))}
QUADRATIC = {sigma: lambda i, j: softmax(lambda j: quadratic_logits(i, j), j, (l, n))}


@proves("lse-slope")
def test_lse_slope():
    assert same(
        derivative(lse(i, lambda i, j: N[i, j]), N[p, q]),
        KroneckerDelta(i, p) * softmax(lambda j: N[p, j], q, (j, k)),
    )


@proves("softmax-jacobian")
def test_softmax_jacobian():
    probability = lambda q: softmax(lambda j: x[j], q, (j, k))
    assert same(derivative(probability(p), x[q]), probability(p) * (KroneckerDelta(p, q) - probability(q)))


@proves("theorem-1")
def test_theorem_1():
    claim = KroneckerDelta(i, p) * total(sigma[i, j] * theta[j, q], (j, k))
    assert same(derivative(lse(i), Z[p, q]), unfold(claim, LINEAR))


@proves("weighted-tokens")
def test_weighted_tokens():
    claim = w[p] * total(sigma[p, j] * theta[j, q], (j, k))
    assert same(derivative(total(w[i] * lse(i), (i, n)), Z[p, q]), unfold(claim, LINEAR))


def linear_loss():
    return total(lse(i) - total(C[i, j] * logits(i, j), (j, k)), (i, n))


@proves("linear-flow")
def test_linear_flow():
    claim = total((C[p, j] - sigma[p, j]) * theta[j, q], (j, k))
    assert same(-derivative(linear_loss(), Z[p, q]), unfold(claim, LINEAR))


@proves("dissipation")
def test_dissipation():
    """d/dt L(Z + tV) = Σ (∂L/∂Z)·V for every V; with V = −∂L/∂Z that is −‖∇L‖²."""
    t = Symbol("t")
    moved = unfold(linear_loss(), {Z: lambda i, a: x[i, a] + t * V[i, a]})
    rate = contract(moved.diff(t)).subs(t, 0)
    gradient = derivative(linear_loss(), Z[p, q]).xreplace({Z.label: x.label}).replace(Z, x)
    assert same(rate, total(gradient * V[p, q], (p, n), (q, d)))


@proves("symmetries")
def test_symmetries():
    """Adding c_i to row i of the logits leaves σ alone, and (C − σ)1 = 0."""
    shifted = expand(softmax(lambda j: N[i, j] + x[i], p, (j, k)), power_exp=True)
    shifted = shifted.replace(lambda e: e.is_Add and e.has(N), expand)
    assert same(contract(expand(shifted)), softmax(lambda j: N[i, j], p, (j, k)))
    excess = total((C[p, j] - softmax(lambda j: N[p, j], j, (l, k))) * y[q], (j, k))
    assert same(contract(excess), y[q] * (total(C[p, j], (j, k)) - 1))


@proves("hessian-covariance")
def test_hessian_covariance():
    mean = lambda f, p: total(unfold(sigma[p, j], LINEAR) * f(j), (j, k))
    slope = total(derivative(mean(lambda j: theta[j, q], p), Z[u, v]) * B[u, v], (u, n), (v, d))
    score = lambda j: total(B[p, v] * theta[j, v], (v, d))
    covariance = mean(lambda j: theta[j, q] * score(j), p) - mean(lambda j: theta[j, q], p) * mean(score, p)
    assert same(slope, covariance)


def expectation(term):
    return total(s[j] * term, (j, k))


def with_moments(expr, mean):
    """Use Σ s = 1 and Σ s V = mean."""
    return expand(contract(expr)).subs({expectation(Integer(1)): 1, expectation(V[j]): mean})


@proves("convexity")
def test_convexity():
    """The second derivative is a variance, Σ s (V − m)² = Σ s V² − m² ≥ 0; the quadratic model is not convex."""
    mean = Symbol("mean")
    assert same(with_moments(expectation((V[j] - mean) ** 2), mean), expectation(V[j] ** 2) - mean**2)
    loss = lambda z0, z1: (
        log(exp(z0 * z0) + exp(z0 * z1)) - z0 * z0 + log(exp(z1 * z0) + exp(z1 * z1)) - z1 * z1  # n = 2, d = 1, C = I
    )
    middle, ends = loss(S(0), S(0)), (loss(S(1), S(-1)) + loss(S(-1), S(1))) / 2
    assert (middle - ends).is_positive


@proves("lipschitz")
def test_lipschitz():
    """Popoviciu: the gap Σ s (M − V)(V − m) ≥ 0 plus the variance is (M − mean)(mean − m) ≤ (M − m)²/4."""
    mean, low, high = symbols("mean low high")
    gap = with_moments(expectation((high - V[j]) * (V[j] - low)), mean)
    variance = with_moments(expectation((V[j] - mean) ** 2), mean)
    assert same(gap + variance, expand((high - mean) * (mean - low)))
    square = (mean - (high + low) / 2) ** 2
    assert expand((high - low) ** 2 / 4 - (high - mean) * (mean - low) - square) == 0
    f, h = symbols("f h")  # (f − h)² ≤ 2(f² + h²), hence diameter²/4 ≤ ‖θ‖²/2
    assert expand(2 * (f**2 + h**2) - (f - h) ** 2 - (f + h) ** 2) == 0


@proves("moment-matching")
def test_moment_matching():
    """The gradient is the difference of the two moments; and along u the velocity of a hard label is its mean margin."""
    claim = total(sigma[p, j] * theta[j, q], (j, k)) - total(C[p, j] * theta[j, q], (j, k))
    assert same(derivative(linear_loss(), Z[p, q]), unfold(claim, LINEAR))
    mean = lambda f: total(sigma[p, j] * f(j), (j, k))
    push = total(y[a] * (theta[c, a] - mean(lambda j: theta[j, a])), (a, d))
    margins = mean(lambda j: total(y[a] * (theta[c, a] - theta[j, a]), (a, d)))
    assert same(unfold(push, LINEAR), unfold(margins, LINEAR))  # positive where θ_c is a vertex: never zero


@proves("two-classes")
def test_two_classes():
    t, rate, start = symbols("t c m0", positive=True)
    path = rate * t + start + exp(start)
    margin = path - LambertW(exp(path))
    inverse = symbols("W", positive=True)  # W = W(e^s) means W e^W = e^s, so e^m = e^s e^{−W} = W
    assert simplify(inverse * exp(inverse) * exp(-inverse) - inverse) == 0
    assert simplify(margin.diff(t).subs(LambertW(exp(path)), inverse) - rate / (1 + inverse)) == 0
    initial = exp(start)  # W(e^s) at t = 0, since it has W e^W = e^s there; hence m(0) = s − e^{m0} = m0
    assert simplify(initial * exp(initial) - exp(path.subs(t, 0))) == 0


@proves("etf-optimum")
def test_etf_optimum():
    """At z = Rθ_c the velocity is k/(k−1)(1 − σ_c)θ_c, radial and outwards: the condition of Karush, Kuhn and Tucker."""
    R, classes = symbols("R k", positive=True)
    product = lambda one: classes / (classes - 1) * (one - 1 / classes)  # θ_c·θ_j of the simplex √(k/(k−1)) (I − 11ᵀ/k)
    assert simplify(product(1) - 1) == 0 and simplify(product(1) + (classes - 1) * product(0)) == 0  # unit, Σ_j θ_j = 0
    weight, others = exp(R * product(1)), exp(R * product(0))
    whole = weight + (classes - 1) * others
    velocity = 1 - weight / whole + others / whole  # θ_c − σ_c θ_c − σ_other Σ_{j≠c} θ_j, with Σ_{j≠c} θ_j = −θ_c
    claim = classes / (classes - 1) * (1 - weight / whole)
    assert simplify(velocity - claim) == 0
    assert simplify(velocity - (1 - weight / whole)) != 0
    sample = claim.subs({R: 2, classes: 5})
    assert sample.evalf() > 0


@proves("quadratic-adjoint")
def test_quadratic_adjoint():
    adjoint = contract(total(G[i, j] * diff(quadratic_logits(i, j), Z[p, q]), (i, n), (j, n)))
    claim = total(G[p, j] * at_tokens_transposed(j, q), (j, n)) + total(G[i, p] * at_tokens(i, q), (i, n))
    assert same(adjoint, claim)


@proves("quadratic-lse")
def test_quadratic_lse():
    claim = KroneckerDelta(i, p) * total(sigma[i, j] * at_tokens_transposed(j, q), (j, n)) + sigma[i, p] * at_tokens(i, q)
    assert same(derivative(lse(i, quadratic_logits, (j, n)), Z[p, q]), unfold(claim, QUADRATIC))


def quadratic_loss(logits=quadratic_logits):
    return total(lse(i, logits, (j, n)) - total(C[i, j] * logits(i, j), (j, n)), (i, n))


@proves("quadratic-flow")
def test_quadratic_flow():
    claim = total((C[p, j] - sigma[p, j]) * at_tokens_transposed(j, q), (j, n))
    claim += total((C[i, p] - sigma[i, p]) * at_tokens(i, q), (i, n))
    assert same(-derivative(quadratic_loss(), Z[p, q]), unfold(claim, QUADRATIC))


def factored_logits(i, j):
    """(Zφφᵀ Zᵀ)_ij."""
    return total(total(Z[i, a] * phi[a, c], (a, d)) * total(Z[j, b] * phi[b, c], (b, d)), (c, r))


def values(i, q):
    """(Zφφᵀ)_iq."""
    return total(total(Z[i, a] * phi[a, c], (a, d)) * phi[q, c], (c, r))


FACTORED = {sigma: lambda i, j: softmax(lambda j: factored_logits(i, j), j, (l, n))}


@proves("self-attention-flow")
def test_self_attention_flow():
    labels = total((C[p, j] + C[j, p]) * values(j, q), (j, n))
    attention = total((sigma[p, j] + sigma[j, p]) * values(j, q), (j, n))
    assert same(-derivative(quadratic_loss(factored_logits), Z[p, q]), unfold(labels - attention, FACTORED))


@proves("companion-softmax")
def test_companion_softmax():
    over_queries = exp(factored_logits(p, i)) / total(exp(factored_logits(j, i)), (j, n))
    assert same(unfold(sigma[i, p], FACTORED), over_queries)


@proves("identity-labels")
def test_identity_labels():
    term = total((KroneckerDelta(p, j) + KroneckerDelta(j, p)) * values(j, q), (j, n))
    assert same(term, 2 * values(p, q))


@proves("stop-gradient")
def test_stop_gradient():
    fixed = lambda i, j: total(Z[i, a] * theta[a, b] * K[j, b], (a, d), (b, d))
    field = -derivative(quadratic_loss(fixed), Z[p, q])
    read = {sigma: lambda i, j: softmax(lambda j: fixed(i, j), j, (l, n))}
    claim = total((C[p, j] - sigma[p, j]) * total(K[j, b] * theta[q, b], (b, d)), (j, n))
    assert same(field, unfold(claim, read))


@proves("not-a-gradient")
def test_not_a_gradient():
    """Two tokens, one feature, θ = 1, C = I: the field's Jacobian is not symmetric, and it can ascend."""
    z0, z1 = symbols("z0 z1", real=True)
    part = lambda f, h: exp(f * h) / (exp(f * z0) + exp(f * z1))
    field = [f - part(f, z0) * z0 - part(f, z1) * z1 for f in (z0, z1)]
    asymmetry = field[0].diff(z1) - field[1].diff(z0)
    assert abs(asymmetry.subs({z0: 1, z1: Rational(1, 2)}).evalf()) > 0.05
    loss = sum(log(exp(f * z0) + exp(f * z1)) - f * f for f in (z0, z1))
    rate = sum(loss.diff(f) * h for f, h in zip((z0, z1), field, strict=True))
    assert rate.subs({z0: 3, z1: Rational(9, 4)}).evalf() > 0.5


A_, B_ = symbols("A B", commutative=False)
step = symbols("h")


def bracket(f, h):
    return f * h - h * f


def flow_series(generator):
    return sum((generator**order * step**order / factorial(order) for order in range(4)), S.Zero)


@proves("lie-order")
def test_lie_order():
    error = expand(flow_series(A_) * flow_series(B_) - flow_series(A_ + B_))
    assert [error.coeff(step, order) for order in (0, 1)] == [0, 0]
    assert expand(error.coeff(step, 2) - bracket(A_, B_) / 2) == 0


@proves("strang-order")
def test_strang_order():
    error = expand(flow_series(B_ / 2) * flow_series(A_) * flow_series(B_ / 2) - flow_series(A_ + B_))
    assert [error.coeff(step, order) for order in (0, 1, 2)] == [0, 0, 0]
    claim = bracket(A_, bracket(A_, B_)) / 12 + bracket(B_, bracket(A_, B_)) / 24
    assert expand(error.coeff(step, 3) - claim) == 0


@proves("lie-commutator")
def test_lie_commutator():
    """½(f_B' f_A − f_A' f_B) with f_A = −CA and f_B = Cθ constant is ½ dCA[Cθ], a covariance."""
    mean = lambda f: total(unfold(sigma[p, j], LINEAR) * f(j), (j, k))
    pull = lambda u, v: total(C[u, m] * theta[m, v], (m, k))
    commutator = total(derivative(mean(lambda j: theta[j, q]), Z[u, v]) * pull(u, v), (u, n), (v, d)) / 2
    score = lambda j: total(pull(p, v) * theta[j, v], (v, d))
    covariance = mean(lambda j: theta[j, q] * score(j)) - mean(lambda j: theta[j, q]) * mean(score)
    assert same(commutator, covariance / 2)


@proves("lie-is-euler")
def test_lie_is_euler():
    attention, pull = total(sigma[p, j] * theta[j, q], (j, k)), total(C[p, j] * theta[j, q], (j, k))
    split = (Z[p, q] - step * attention) + step * pull
    assert same(split, Z[p, q] + step * total((C[p, j] - sigma[p, j]) * theta[j, q], (j, k)))


@proves("strang-euler")
def test_strang_euler():
    """The Euler step pulls back as 1 + hA + h²/2 (A² − D) with D the derivation along f_A'f_A: −h²/2 D is left.

    In the linear model D is the covariance of the prototypes with their products with CA.
    """
    D = symbols("D", commutative=False)
    euler_step = 1 + step * A_ + step**2 / 2 * (A_**2 - D)
    error = expand(flow_series(B_ / 2) * euler_step * flow_series(B_ / 2) - flow_series(A_ + B_))
    assert error.coeff(step, 1) == 0 and expand(error.coeff(step, 2) + D / 2) == 0
    mean = lambda f: total(unfold(sigma[p, j], LINEAR) * f(j), (j, k))
    read = lambda u, v: unfold(total(sigma[u, m] * theta[m, v], (m, k)), LINEAR)
    slope = total(derivative(mean(lambda j: theta[j, q]), Z[u, v]) * read(u, v), (u, n), (v, d))
    score = lambda j: total(read(p, v) * theta[j, v], (v, d))
    assert same(slope, mean(lambda j: theta[j, q] * score(j)) - mean(lambda j: theta[j, q]) * mean(score))


@proves("label-free")
def test_label_free():
    labels = lambda p, j: total(Z[p, a] * U[a, j], (a, d))
    product = lambda a, q: total(U[a, j] * theta[j, q], (j, k))
    assert same(total(labels(p, j) * theta[j, q], (j, k)), total(Z[p, a] * product(a, q), (a, d)))


@proves("self-training")
def test_self_training():
    beta = symbols("beta", positive=True)
    sharp = lambda i, j: beta * logits(i, j)
    potential = lse(i) - lse(i, sharp) / beta
    sharpened = {sigma: lambda i, j: softmax(lambda j: sharp(i, j), j, (l, k))}
    read = total(sigma[p, j] * theta[j, q], (j, k))
    field = unfold(read, sharpened) - unfold(read, LINEAR)
    assert same(-derivative(total(w[i] * potential, (i, n)), Z[p, q]), w[p] * field)
    assert same(field.subs(beta, 1), S.Zero)


@proves("multi-head")
def test_multi_head():
    heads = symbols("H", integer=True, positive=True)
    query = lambda i, g, c: total(Z[i, a] * phi[g, a, c], (a, d))
    N_head = lambda g: lambda i, j: total(query(i, g, c) * query(j, g, c), (c, r))
    loss = total(lse(i, N_head(g), (j, n)) - total(C[i, j] * N_head(g)(i, j), (j, n)), (i, n), (g, heads))
    value = lambda j, g: total(query(j, g, c) * phi[g, q, c], (c, r))
    read = {sigma: lambda g, i, j: softmax(lambda j: N_head(g)(i, j), j, (l, n))}
    both = C[p, j] + C[j, p] - sigma[g, p, j] - sigma[g, j, p]
    assert same(-derivative(loss, Z[p, q]), unfold(total(both * value(j, g), (j, n), (g, heads)), read))


@proves("temperature")
def test_temperature():
    scale = symbols("scale", positive=True)
    scaled = lambda i, j: scale * logits(i, j)
    loss = total(lse(i, scaled) - total(C[i, j] * scaled(i, j), (j, k)), (i, n)) / scale
    read = {sigma: lambda i, j: softmax(lambda j: scaled(i, j), j, (l, k))}
    claim = total((C[p, j] - sigma[p, j]) * theta[j, q], (j, k))
    assert same(-derivative(loss, Z[p, q]), unfold(claim, read))


@proves("causal")
def test_causal():
    """For every mask M; one with M_ij = 0 for j > i makes σ lower and σᵀ upper triangular. Then with keys held fixed."""
    mask = tensors("M")[0]
    masked = lambda i: total(mask[i, j] * exp(factored_logits(i, j)), (j, n))
    loss = total(log(masked(i)) - total(C[i, j] * factored_logits(i, j), (j, n)), (i, n))
    read = {sigma: lambda i, j: mask[i, j] * exp(factored_logits(i, j)) / masked(i)}
    claim = total((C[p, j] + C[j, p] - sigma[p, j] - sigma[j, p]) * values(j, q), (j, n))
    assert same(-derivative(loss, Z[p, q]), unfold(claim, read))
    kept = lambda i, j: total(Z[i, a] * theta[a, b] * K[j, b], (a, d), (b, d))
    weights = lambda i: total(mask[i, j] * exp(kept(i, j)), (j, n))
    loss = total(log(weights(i)) - total(C[i, j] * kept(i, j), (j, n)), (i, n))
    read = {sigma: lambda i, j: mask[i, j] * exp(kept(i, j)) / weights(i)}
    claim = total((C[p, j] - sigma[p, j]) * total(theta[q, b] * K[j, b], (b, d)), (j, n))
    assert same(-derivative(loss, Z[p, q]), unfold(claim, read))


@proves("norm-retraction")
def test_norm_retraction():
    """z · (v − z (z·v)/(z·z)) = 0 for every d."""
    inner = lambda f, h: total(f[a] * h[a], (a, d))
    square, product = symbols("square product")
    drift = contract(total(z[a] * (V[a] - z[a] * product / square), (a, d)))
    assert simplify(expand(drift).subs({inner(z, V): product, total(z[a] ** 2, (a, d)): square})) == 0


@proves("mlp-potential")
def test_mlp_potential():
    """For every g and all sizes; then the three g' by name."""
    function, argument = Function("g"), symbols("x", real=True)
    hidden = lambda i, m: total(Z[i, a] * W[m, a], (a, d))
    potential = total(function(hidden(i, m)), (i, n), (m, r))
    activation = lambda i, m: diff(function(argument), argument).subs(argument, hidden(i, m))
    assert same(derivative(potential, Z[p, q]), total(activation(p, m) * W[m, q], (m, r)))
    assert not same(derivative(potential, Z[p, q]), total(function(hidden(p, m)) * W[m, q], (m, r)))
    relu, bell = Piecewise((argument, argument > 0), (0, True)), exp(-(argument**2) / 2) / sqrt(2 * pi)
    for potential, activation in (
        (log(1 + exp(argument)), 1 / (1 + exp(-argument))),
        (relu**2 / 2, relu),
        (
            (argument**2 * (1 + erf(argument / sqrt(2))) - erf(argument / sqrt(2))) / 4 + argument * bell / 2,
            argument * (1 + erf(argument / sqrt(2))) / 2,
        ),
    ):
        assert simplify(potential.diff(argument) - activation) == 0
    assert simplify(relu.diff(argument) - relu) != 0


@proves("untied-mlp")
def test_untied_mlp():
    """One hidden unit, two features: the Jacobian of z ↦ f(v·z)w is f'(v·z) w vᵀ, symmetric only if w is parallel to v."""
    z0, z1, v0, v1, w0, w1 = symbols("z0 z1 v0 v1 w0 w1")
    layer = [factor * exp(v0 * z0 + v1 * z1) for factor in (w0, w1)]
    asymmetry = layer[0].diff(z1) - layer[1].diff(z0)
    assert simplify(asymmetry / exp(v0 * z0 + v1 * z1) - (w0 * v1 - w1 * v0)) == 0


@proves("untied-values")
def test_untied_values():
    """The gradient of untied logits, and the rate −tr(∇L M ∇Lᵀ) along −∇L M, whose symmetric part alone counts."""
    query, key, gradient, mixer = tensors("Q K G M")
    product = lambda a, b: total(query[a, c] * key[b, c], (c, r))
    untied = lambda i, j: total(Z[i, a] * product(a, b) * theta[j, b], (a, d), (b, d))
    loss = total(lse(i, untied) - total(C[i, j] * untied(i, j), (j, k)), (i, n))
    read = {sigma: lambda i, j: softmax(lambda j: untied(i, j), j, (l, k))}
    claim = total((C[p, j] - sigma[p, j]) * theta[j, b] * product(q, b), (j, k), (b, d))
    assert same(-derivative(loss, Z[p, q]), unfold(claim, read))
    rate = total(gradient[p, q] * -total(gradient[p, a] * mixer[a, q], (a, d)), (p, n), (q, d))
    trace = total(gradient[p, q] * mixer[q, c] * gradient[p, c], (p, n), (q, d), (c, d))
    symmetric = total(gradient[p, q] * (mixer[q, c] + mixer[c, q]) * gradient[p, c], (p, n), (q, d), (c, d)) / 2
    assert same(rate, -trace) and not same(rate, trace) and same(trace, symmetric)


@proves("hopfield")
def test_hopfield():
    tau = symbols("tau", positive=True)
    score = lambda j: total(x[j, a] * z[a], (a, d)) / tau
    energy = -tau * log_sum_exp(score, (j, k)) + total(z[a] ** 2, (a, d)) / 2
    read = total(softmax(score, j, (l, k)) * x[j, q], (j, k))
    assert same(derivative(energy, z[q]), z[q] - unfold(read, {}))


@proves("mean-shift")
def test_mean_shift():
    tau = symbols("tau", positive=True)
    density = lambda j: weight[j] * exp(-total((z[a] - mu[j, a]) ** 2, (a, d)) / (2 * tau))
    everything = total(density(j), (j, k))
    claim = total(density(j) * (mu[j, q] - z[q]), (j, k)) / everything
    assert same(tau * derivative(log(everything), z[q]), claim)


@proves("in-context")
def test_in_context():
    rate = symbols("eta", positive=True)
    residual = lambda i, m: total(W[m, a] * x[i, a], (a, d)) - y[i, m]
    loss = total(residual(i, m) ** 2, (i, n), (m, r)) / 2
    after_one_step = -rate * derivative(loss, W[p, q]).replace(lambda e: getattr(e, "base", None) == W, lambda e: S.Zero)
    prediction = total(after_one_step * z[q], (q, d))
    assert same(contract(prediction), rate * total(y[i, p] * total(x[i, a] * z[a], (a, d)), (i, n)))


def test_the_proofs_are_not_vacuous():
    """The solver of identities would also solve for wrong coefficients: it finds just those that are claimed."""
    f, h = symbols("f h")
    error = expand(flow_series(B_ / 2) * flow_series(A_) * flow_series(B_ / 2) - flow_series(A_ + B_)).coeff(step, 3)
    difference = expand(error - f * bracket(A_, bracket(A_, B_)) - h * bracket(B_, bracket(A_, B_)))
    words = (A_ * A_ * B_, A_ * B_ * A_, B_ * A_ * A_, B_ * B_ * A_, B_ * A_ * B_, A_ * B_ * B_)
    (solution,) = solve([Eq(difference.coeff(word), 0) for word in words], [f, h], dict=True)
    assert solution == {f: Rational(1, 12), h: Rational(1, 24)}
