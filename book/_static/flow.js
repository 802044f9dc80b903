/* The mathematics of the figures, as in imr.flow: one token z, prototypes theta, class c.
   Plain scripts, not modules, which a browser does not load from file://; each leaves one name in `imr`. */
"use strict";

globalThis.imr = {};

imr.flow = (() => {
  const dot = (x, y) => x.reduce((sum, v, a) => sum + v * y[a], 0);
  const axpy = (h, x, y) => y.map((v, a) => v + h * x[a]);
  const logits = (z, theta) => theta.map((row) => dot(row, z));

  function softmax(N) {
    const top = Math.max(...N); // taken off, so that no exponential overflows
    const e = N.map((v) => Math.exp(v - top));
    const sum = e.reduce((s, v) => s + v, 0);
    return e.map((v) => v / sum);
  }

  function loss(z, theta, c) {
    const N = logits(z, theta);
    const top = Math.max(...N);
    return top + Math.log(N.reduce((s, v) => s + Math.exp(v - top), 0)) - N[c];
  }

  /* CA(z) = σ(zθᵀ)θ */
  function attention(z, theta) {
    const s = softmax(logits(z, theta));
    return z.map((_, a) => s.reduce((sum, p, j) => sum + p * theta[j][a], 0));
  }

  /* ż = θ_c − CA(z) */
  const velocity = (z, theta, c) => axpy(-1, attention(z, theta), theta[c]);

  const euler = (field, h) => (z) => axpy(h, field(z), z);

  /* One step of length h, taken as so many parts. */
  function rk4(field, h, parts) {
    const step = h / parts;
    const part = (z) => {
      const k1 = field(z);
      const k2 = field(axpy(step / 2, k1, z));
      const k3 = field(axpy(step / 2, k2, z));
      const k4 = field(axpy(step, k3, z));
      return z.map((v, a) => v + (step / 6) * (k1[a] + 2 * k2[a] + 2 * k3[a] + k4[a]));
    };
    return (z) => trajectory(part, z, parts)[parts];
  }

  /* Lie: attention, then the label's pull; Strang: half a pull on either side. Both sub-flows exact, or as good as. */
  const pull = (theta, c, h) => (z) => axpy(h, theta[c], z);
  const repel = (theta, h) => rk4((z) => attention(z, theta).map((v) => -v), h, 8);
  const lie = (theta, c, h) => (z) => pull(theta, c, h)(repel(theta, h)(z));
  const strang = (theta, c, h) => (z) => pull(theta, c, h / 2)(repel(theta, h)(pull(theta, c, h / 2)(z)));

  function trajectory(step, z, count) {
    const path = [z];
    for (let i = 0; i < count; i++) path.push(step(path[i]));
    return path;
  }

  const distance = (x, y) => Math.max(...x.map((v, a) => Math.abs(v - y[a])));
  const CORNERS = [
    [1.5, 0],
    [-0.75, 1.3],
    [-0.75, -1.3],
  ];

  /* 2/Λ, with Λ = (diameter of the prototypes)²/4 as in imr.flow.lipschitz_bound */
  function certainStep(theta) {
    const squares = theta.flatMap((x) => theta.map((y) => dot(axpy(-1, x, y), axpy(-1, x, y))));
    return 8 / Math.max(...squares);
  }

  return {
    axpy,
    logits,
    softmax,
    loss,
    velocity,
    euler,
    rk4,
    lie,
    strang,
    trajectory,
    distance,
    certainStep,
    CORNERS,
  };
})();
