"""What the witnesses of the claims (tests/claims) leave open: batches, dtypes, memory and errors."""

from functools import partial

import benchmarks
import pytest
import torch
from strategies import Problem, close
from torch.func import grad, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from imr import attention, flow, potentials
from imr.attention import companion, cross_attention, perceptron, quadratic_attention, self_attention

P = Problem(n=24, d=3, k=10, r=2)
BATCHED = P.Z.reshape(2, 3, 4, 3)


def test_cross_attention_takes_batches_of_features_and_of_prototypes():
    whole = cross_attention(P.Z, P.theta)
    assert close(cross_attention(BATCHED, P.theta), whole.reshape(2, 3, 4, 3))
    own = cross_attention(P.Z.reshape(2, 12, 3), P.theta.reshape(2, 5, 3))
    assert close(own[1], cross_attention(P.Z[12:], P.theta[5:]))
    broadcast = cross_attention(P.Z, P.theta.reshape(2, 5, 3))
    assert close(broadcast[1], cross_attention(P.Z, P.theta[5:]))
    both = cross_attention(P.Z.reshape(4, 1, 6, 3), P.theta.reshape(2, 5, 3))
    assert close(both[3, 1], cross_attention(P.Z[18:], P.theta[5:]))


@pytest.mark.parametrize("causal", [False, True])
def test_heads_are_added(causal):
    for read in (self_attention, companion):
        assert close(read(P.Z, P.heads, 0.7, causal), sum(read(P.Z, phi, 0.7, causal) for phi in P.heads))


READS = {
    "self-attention": lambda Z: self_attention(Z, P.phi, 0.7),
    "self-attention, causal": lambda Z: self_attention(Z, P.phi, 0.7, causal=True),
    "self-attention, heads": lambda Z: self_attention(Z, P.heads, 0.7),
    "self-attention, heads, causal": lambda Z: self_attention(Z, P.heads, 0.7, causal=True),
    "companion, heads, causal": lambda Z: companion(Z, P.heads, 0.7, causal=True),
    "companion": lambda Z: companion(Z, P.phi, 0.7),
    "companion, causal": lambda Z: companion(Z, P.phi, 0.7, causal=True),
    "companion, heads": lambda Z: companion(Z, P.heads, 0.7),
    "quadratic": lambda Z: quadratic_attention(Z, P.form, 0.7),
    "quadratic, causal": lambda Z: quadratic_attention(Z, P.form, 0.7, causal=True),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_reads_take_batches(read):
    batched = read(BATCHED)
    assert batched.shape == BATCHED.shape
    assert close(batched[1, 2], read(BATCHED[1, 2]))


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("entries", [1, 50, 97, 1000])
def test_blocks_of_any_size_give_the_same(read, entries, monkeypatch):
    expected, batched = read(P.Z), read(BATCHED)
    monkeypatch.setattr(attention, "BLOCK", entries)
    assert close(read(P.Z), expected)
    assert close(read(BATCHED), batched)


@pytest.mark.parametrize("causal", [False, True])
def test_reads_are_the_softmax_and_its_transpose(causal):
    theta = P.phi @ P.phi.T
    sigma = (0.7 * potentials.quadratic_logits(P.Z, theta, causal)).softmax(-1)
    assert close(self_attention(P.Z, P.phi, 0.7, causal), sigma @ P.Z @ theta)
    assert close(companion(P.Z, P.phi, 0.7, causal), sigma.T @ P.Z @ theta)
    sigma = (0.7 * potentials.quadratic_logits(P.Z, P.form, causal)).softmax(-1)
    assert close(quadratic_attention(P.Z, P.form, 0.7, causal), sigma @ P.Z @ P.form.T + sigma.T @ P.Z @ P.form)


def test_default_scale_is_one():
    assert close(cross_attention(P.Z, P.theta), cross_attention(P.Z, P.theta, 1.0))
    assert close(self_attention(P.Z, P.phi), self_attention(P.Z, P.phi, 1.0))
    assert close(companion(P.Z, P.phi), companion(P.Z, P.phi, 1.0))
    assert close(quadratic_attention(P.Z, P.form), quadratic_attention(P.Z, P.form, 1.0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtype_is_kept(dtype):
    Z, theta, phi, form = (X.to(dtype) for X in (P.Z, P.theta, P.phi, P.form))
    for read in (
        cross_attention(Z, theta),
        self_attention(Z, phi),
        companion(Z, phi),
        quadratic_attention(Z, form),
        perceptron(Z, theta),
        flow.linear_field(theta, P.C.to(dtype))(Z),
        flow.quadratic_field(form, torch.arange(24))(Z),
    ):
        assert read.dtype == dtype


def test_gradients_flow_through_both_reads():
    """A block is trained: its parameters' gradients agree with those of the formula written out."""
    written = lambda phi: (P.Z @ phi @ phi.T @ P.Z.T).softmax(-1).T @ P.Z @ phi @ phi.T
    assert close(
        grad(lambda phi: companion(P.Z, phi).square().sum())(P.phi), grad(lambda f: written(f).square().sum())(P.phi)
    )


def test_the_quadratic_flow_holds_no_matrix_of_tokens_by_tokens():
    n = 4096
    Z, form = torch.randn(n, 16), torch.randn(16, 16) / 16
    peak = benchmarks.peak_memory(flow.quadratic_field(form, torch.arange(n)), Z)
    assert 4 * n * 16 < peak < 4 * n * n / 2  # bytes: half of one float32 matrix (n, n)
    everything = lambda Z: (Z @ form @ Z.T).softmax(-1) @ Z
    assert benchmarks.peak_memory(everything, Z) > 4 * n * n  # the measure does see such a matrix


def test_the_memory_of_the_process_stays_far_below_such_a_matrix():
    n = 8192
    grown = benchmarks.resident_growth(partial(benchmarks.quadratic_flow, n))
    assert 4 * n * 64 < grown < 4 * n * n / 2
    assert benchmarks.resident_growth(partial(torch.ones, n, n)) > 4 * n * n * 0.9  # the measure does see such a matrix


def test_cross_attention_holds_no_matrix_of_tokens_by_classes():
    Z, theta = torch.randn(4096, 16), torch.randn(1024, 16)
    assert benchmarks.peak_memory(lambda Z: cross_attention(Z, theta), Z) < 4096 * 1024


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cross_attention(P.Z, P.theta.T), r"theta has shape \(3, 10\), expected \(k, 3\).*pass theta\.T"),
        (lambda: cross_attention(P.Z, P.theta[:, :2]), r"expected \(k, 3\)"),
        (lambda: self_attention(P.Z, P.phi.T), r"phi \(2, 3\), expected .* \(d, r\) or \(heads, d, r\)"),
        (lambda: self_attention(P.Z[0], P.phi), r"Z has shape \(3,\)"),
        (lambda: companion(P.Z, P.phi[0]), r"phi \(2,\)"),
        (lambda: companion(P.Z, P.heads[:, :2]), r"phi \(3, 2, 2\)"),
        (lambda: quadratic_attention(P.Z, P.phi), r"theta \(3, 2\), expected .* \(d, d\)\. From a factor"),
        (lambda: quadratic_attention(P.Z[0], P.form), r"Z has shape \(3,\)"),
        (lambda: cross_attention(P.Z, P.theta, 0.0), "scale is 0.0, expected a positive number"),
        (lambda: self_attention(P.Z, P.phi, -1.0), "scale is -1.0"),
        (lambda: companion(P.Z, P.phi, float("nan")), "scale is nan"),
        (lambda: quadratic_attention(P.Z, P.form, -1.0), "scale is -1.0"),
        (lambda: perceptron(P.Z, P.theta, "tanh"), "unknown activation 'tanh', expected one of: sigmoid, relu, gelu"),
    ],
)
def test_bad_shapes_say_what_was_given_and_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_default_activation_is_gelu():
    assert close(perceptron(P.Z, P.theta), perceptron(P.Z, P.theta, "gelu"))
    assert close(potentials.mlp(P.Z, P.theta), potentials.mlp(P.Z, P.theta, "gelu"))


def test_heads_and_intercepts_that_do_not_fit_are_refused():
    Z, theta = torch.randn(5, 3), torch.randn(2, 4, 3)
    for function in (attention.multi_head_cross_attention, potentials.many_regressions):
        with pytest.raises(ValueError, match=r"bias \(4,\), expected \(heads, k, d\) and \(heads, k\)"):
            function(Z, theta, torch.zeros(4))
        with pytest.raises(ValueError, match="scale is 0"):
            function(Z, theta, torch.zeros(2, 4), 0.0)


def test_scale_defaults_to_one_and_weights_to_ones():
    theta, bias = P.draw(2, 4, 3, salt=62), P.draw(2, 4, salt=63)
    whole = attention.multi_head_cross_attention(P.Z, theta, bias)
    ones = torch.ones(2).double()
    assert torch.equal(whole, attention.multi_head_cross_attention(P.Z, theta, bias, 1.0, None, ones))
    assert potentials.many_regressions(P.Z, theta, bias) == potentials.many_regressions(P.Z, theta, bias, 1.0, ones)
    Q = torch.einsum("nd,hdr->hnr", P.Z, phi := P.draw(2, 3, 2, salt=64))
    for read, other in zip(attention.reads(P.Z, phi, Q), attention.reads(P.Z, phi, Q, 1.0), strict=True):
        assert torch.equal(read, other)


@pytest.mark.parametrize("weights", [None, torch.tensor([-0.5], dtype=torch.float64)])
def test_one_head_without_intercepts_is_the_fused_kernel_and_agrees_with_the_written_out_one(weights):
    one = attention.multi_head_cross_attention(P.Z, P.theta[None], weights=weights)
    zeros = torch.zeros(1, len(P.theta), dtype=torch.float64)
    assert close(one, attention.multi_head_cross_attention(P.Z, P.theta[None], zeros, weights=weights))
    batch = P.Z.reshape(2, 3, 4, 3)
    assert close(attention.multi_head_cross_attention(batch, P.theta[None], weights=weights), one.reshape(batch.shape))


def test_prototypes_without_heads_are_refused_with_their_shapes():
    with pytest.raises(ValueError, match=r"^theta has shape \(10, 3\), expected \(heads, k, d\) and \(heads, k\)$"):
        potentials.many_regressions(P.Z, P.theta)
    with pytest.raises(ValueError, match=r"^theta has shape \(1, 10, 3\) and bias \(10,\), expected"):
        potentials.many_regressions(P.Z, P.theta[None], torch.zeros(10))


def test_torchs_plain_kernel_has_the_derivatives_that_the_fused_one_lacks():
    Z, theta = P.Z[:4], P.theta
    written = lambda Z: (Z @ theta.mT).softmax(-1) @ theta
    penalty = lambda read: grad(lambda Z: grad(lambda Z: read(Z).square().sum())(Z).square().sum())(Z)
    with sdpa_kernel(SDPBackend.MATH):
        assert close(penalty(lambda Z: cross_attention(Z, theta)), penalty(written))
        assert close(jvp(lambda Z: cross_attention(Z, theta), (Z,), (Z,))[1], jvp(written, (Z,), (Z,))[1])
    form = lambda Z: companion(Z, P.phi)
    assert close(penalty(form), penalty(lambda Z: (Z @ P.phi @ P.phi.mT @ Z.mT).softmax(-1).mT @ Z @ P.phi @ P.phi.mT))
