/* Figures that a reader can move. Plain JavaScript and SVG: no library, no network, works from file://.
   A page holds <figure class="imr-live" data-figure="NAME">; what stands inside is what readers without scripts see. */
"use strict";

const imr = (function () {
  /* The mathematics, as in imr.flow: one token z, prototypes theta, class c. */
  const dot = (x, y) => x.reduce((s, v, a) => s + v * y[a], 0);
  const axpy = (h, x, y) => y.map((v, a) => v + h * x[a]);
  const logits = (z, theta) => theta.map((row) => dot(row, z));

  function softmax(N) {
    const top = Math.max(...N), e = N.map((v) => Math.exp(v - top)), sum = e.reduce((s, v) => s + v, 0);
    return e.map((v) => v / sum);
  }

  function loss(z, theta, c) {
    const N = logits(z, theta), top = Math.max(...N);
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

  function rk4(field, h, parts) {
    const step = h / parts;
    return (z) => {
      for (let i = 0; i < parts; i++) {
        const k1 = field(z), k2 = field(axpy(step / 2, k1, z)), k3 = field(axpy(step / 2, k2, z)), k4 = field(axpy(step, k3, z));
        z = z.map((v, a) => v + (step / 6) * (k1[a] + 2 * k2[a] + 2 * k3[a] + k4[a]));
      }
      return z;
    };
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
  const CORNERS = [[1.5, 0], [-0.75, 1.3], [-0.75, -1.3]];

  /* 2/Λ, with Λ = (diameter of the prototypes)²/4 as in imr.flow.lipschitz_bound */
  function certainStep(theta) {
    const squares = theta.flatMap((x) => theta.map((y) => dot(axpy(-1, x, y), axpy(-1, x, y))));
    return 8 / Math.max(...squares);
  }

  /* Drawing. */
  const NS = "http://www.w3.org/2000/svg";

  function svg(name, attributes, parent, text) {
    const node = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  }

  function html(name, attributes, parent, text) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  }

  const draw = {
    line: (points, kind, parent) => svg("polyline", { points: points.map((p) => p.map((v) => v.toFixed(1)).join()).join(" "), class: kind }, parent),
    dot: (p, r, kind, parent) => svg("circle", { cx: p[0].toFixed(1), cy: p[1].toFixed(1), r, class: kind }, parent),
    text: (p, words, kind, parent) => svg("text", { x: p[0].toFixed(1), y: p[1].toFixed(1), class: kind }, parent, words),
  };

  /* A panel with a map from numbers to places; logarithmic axes where asked. */
  function panel(parent, title, range, log) {
    const size = 300, edge = 34;
    const scale = (v, ends, isLog) => (isLog ? Math.log(v / ends[0]) / Math.log(ends[1] / ends[0]) : (v - ends[0]) / (ends[1] - ends[0]));
    const node = svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "group", "aria-label": title }, parent);
    const place = ([x, y]) => [
      edge + (size - 2 * edge) * scale(x, range.x, log),
      size - edge - (size - 2 * edge) * scale(y, range.y, log),
    ];
    svg("rect", { x: edge, y: edge, width: size - 2 * edge, height: size - 2 * edge, class: "frame" }, node);
    const clip = `clip-${Math.random().toString(36).slice(2)}`;
    svg("rect", { x: edge - 6, y: edge - 6, width: size - 2 * edge + 12, height: size - 2 * edge + 12 }, svg("clipPath", { id: clip }, node));
    draw.text([size / 2, 20], title, "title", node);
    draw.text([size / 2, size - 6], range.xLabel || "", "label", node);
    for (const v of range.xTicks || []) draw.text([place([v, range.y[0]])[0], size - edge + 14], tick(v), "tick", node);
    for (const v of range.yTicks || []) draw.text([edge - 4, place([range.x[0], v])[1] + 4], tick(v), "tick right", node);
    const back = (event) => {
      const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(node.getScreenCTM().inverse());
      const part = [(p.x - edge) / (size - 2 * edge), (size - edge - p.y) / (size - 2 * edge)];
      return [range.x, range.y].map((ends, a) => Math.min(ends[1], Math.max(ends[0], ends[0] + part[a] * (ends[1] - ends[0]))));
    };
    const fixed = svg("g", { "clip-path": `url(#${clip})` }, node), moving = svg("g", { "clip-path": `url(#${clip})` }, node);
    return { node, place, back, fixed, moving };
  }

  const tick = (v) => {
    if (v > 0 && v < 1 && Number.isInteger(1 / v)) return 1 / v > 999 ? v.toExponential(0).replace("-", "−") : `1/${1 / v}`;
    return String(v).replace("-", "−");
  };
  const shown = (v) => (Math.abs(v) < 0.001 && v !== 0 ? v.toExponential(1) : v.toFixed(3)).replaceAll("-", "−");

  function slider(parent, label, ends, value, change, say = shown) {
    const box = html("label", {}, parent, label + " ");
    const input = html("input", { type: "range", min: ends[0], max: ends[1], step: ends[2], value }, box);
    const output = html("output", {}, box);
    const update = () => {
      output.textContent = say(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => { update(); change(); });
    update();
    return () => Number(input.value);
  }

  function frame(root) {
    root.replaceChildren();
    return {
      controls: html("div", { class: "controls" }, root),
      panels: html("div", { class: "panels" }, root),
      words: html("figcaption", { "aria-live": "polite" }, root),
    };
  }

  /* A point that the mouse, a finger or the arrow keys move. */
  function handle(view, at, label, change) {
    const node = svg("circle", { r: 8, class: "handle", tabindex: 0, role: "slider", "aria-label": label, "aria-valuemin": -3, "aria-valuemax": 3 }, view.node);
    const set = (z) => {
      at.splice(0, 2, ...z.map((v) => Math.min(3, Math.max(-3, v))));
      const [x, y] = view.place(at);
      node.setAttribute("cx", x);
      node.setAttribute("cy", y);
      node.setAttribute("aria-valuenow", at[0].toFixed(2));
      node.setAttribute("aria-valuetext", `feature 1 is ${at[0].toFixed(2)}, feature 2 is ${at[1].toFixed(2)}`);
      change();
    };
    view.node.style.touchAction = "none";
    view.node.addEventListener("pointerdown", (event) => {
      view.node.setPointerCapture(event.pointerId);
      node.focus();
      set(view.back(event));
    });
    view.node.addEventListener("pointermove", (event) => { if (view.node.hasPointerCapture(event.pointerId)) set(view.back(event)); });
    node.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (!move) return;
      event.preventDefault();
      set(axpy(1, move, at));
    });
    return set;
  }

  /* The figures. */

  function flowField(root) {
    const theta = CORNERS, { controls, panels, words } = frame(root);
    const plane = panel(panels, "features", { x: [-3, 3], y: [-3, 3], xLabel: "feature 1", xTicks: [-3, 0, 3], yTicks: [-3, 0, 3] });
    const tops = [[0.5, 0.933], [0, 0.067], [1, 0.067]];
    const simplex = panel(panels, "probabilities", { x: [-0.08, 1.08], y: [-0.08, 1.08] });
    const corner = (p) => simplex.place([0, 1].map((a) => p.reduce((s, v, j) => s + v * tops[j][a], 0)));
    const unit = (j) => [0, 1, 2].map((i) => Number(i === j));
    draw.line([0, 1, 2, 0].map((j) => corner(unit(j))), "axis", simplex.fixed);
    tops.forEach((p, j) => draw.text(simplex.place([p[0], p[1] + (j ? -0.09 : 0.03)]), `class ${j}`, "label", simplex.node));
    const box = html("label", {}, controls, "class of the token "), choice = html("select", {}, box);
    theta.forEach((_, j) => html("option", { value: j }, choice, String(j)));
    const start = [-1.5, -1];
    let redraw = () => {};
    const h = slider(controls, "step size h", [0.05, 3, 0.05], 0.25, () => redraw(), (v) => v.toFixed(2));
    redraw = () => {
      const c = Number(choice.value);
      plane.fixed.replaceChildren();
      for (let x = -2.75; x < 3; x += 0.5)
        for (let y = -2.75; y < 3; y += 0.5) {
          const v = velocity([x, y], theta, c), length = Math.hypot(...v) || 1, size = 0.12 + 0.1 * Math.min(length, 2);
          const tip = axpy(size / length, v, [x, y]);
          draw.line([plane.place([x, y]), plane.place(tip)], "arrow", plane.fixed);
          draw.dot(plane.place(tip), 1.8, "arrowhead", plane.fixed);
        }
      theta.forEach((p, j) => { draw.dot(plane.place(p), 7, `class-${j}`, plane.fixed); draw.text(axpy(1, [11, 4], plane.place(p)), `θ${j}`, "label left", plane.fixed); });
      const path = trajectory(euler((z) => velocity(z, theta, c), h()), [...start], 60);
      plane.moving.replaceChildren();
      simplex.moving.replaceChildren();
      draw.line(path.map(plane.place), "path", plane.moving);
      path.forEach((z) => draw.dot(plane.place(z), 2, "step", plane.moving));
      const chances = path.map((z) => softmax(logits(z, theta)));
      draw.line(chances.map(corner), "path", simplex.moving);
      chances.forEach((p) => draw.dot(corner(p), 2, "step", simplex.moving));
      draw.dot(corner(chances[0]), 5, "begin", simplex.moving);
      const ends = [path[0], path[60]].map((z) => loss(z, theta, c));
      words.textContent = `From (${start.map((v) => v.toFixed(2).replace("-", "−")).join(", ")}): 60 steps of size ${h().toFixed(2)} take the loss from ${shown(ends[0])} to ${shown(ends[1])}, ` +
        `and the probability of class ${c} from ${shown(chances[0][c])} to ${shown(chances[60][c])}. Steps below 2/Λ = ${certainStep(theta).toFixed(2)} are certain to descend. Drag the start, or move it with the arrow keys.`;
    };
    choice.addEventListener("change", () => redraw());
    handle(plane, start, "start of the token", () => redraw())(start);
  }

  function stepSize(root) {
    /* prototypes ±1 on a line, label half and half: L(z) = log(2 cosh z), Λ = 1 */
    const L = (z) => Math.abs(z) + Math.log1p(Math.exp(-2 * Math.abs(z))), { controls, panels, words } = frame(root);
    const valley = panel(panels, "the loss, and the steps on it", { x: [-4, 4], y: [0, 4], xLabel: "feature z", xTicks: [-4, 0, 4], yTicks: [0, 2, 4] });
    const curve = panel(panels, "the loss at each step", { x: [0, 30], y: [0, 4], xLabel: "step", xTicks: [0, 10, 20, 30], yTicks: [0, 2, 4] });
    draw.line(Array.from({ length: 161 }, (_, i) => -4 + i / 20).map((z) => valley.place([z, L(z)])), "axis", valley.fixed);
    let redraw = () => {};
    const h = slider(controls, "step size h", [0.1, 5, 0.05], 1.9, () => redraw(), (v) => `${v.toFixed(2)} = ${(v / 2).toFixed(3)} × 2/Λ`);
    const z0 = slider(controls, "start z", [0.05, 3.5, 0.05], 1, () => redraw(), (v) => v.toFixed(2));
    redraw = () => {
      const path = trajectory((z) => z - h() * Math.tanh(z), z0(), 30), values = path.map(L);
      const rises = values.slice(1).filter((v, i) => v > values[i] + 1e-12).length;
      valley.moving.replaceChildren();
      curve.moving.replaceChildren();
      draw.line(path.map((z, i) => valley.place([z, values[i]])), "path", valley.moving);
      path.forEach((z, i) => draw.dot(valley.place([z, values[i]]), 3, "step", valley.moving));
      draw.line(values.map((v, i) => curve.place([i, v])), "path", curve.moving);
      values.forEach((v, i) => draw.dot(curve.place([i, v]), 2.5, "step", curve.moving));
      const side = h() < 2 ? "below 2/Λ = 2: every step is certain to descend" : "not below 2/Λ = 2: nothing is certain";
      words.textContent = `h = ${h().toFixed(2)}, ${side}. The loss goes from ${shown(values[0])} to ${shown(values[30])} and rises at ${rises} of 30 steps.`;
    };
    redraw();
  }

  function splitting(root) {
    const theta = CORNERS, c = 0, start = [-2, 1.2], { controls, panels, words } = frame(root);
    const exact = (count, parts) => trajectory(rk4((z) => velocity(z, theta, c), 1 / count, parts), start, count);
    const end = exact(64, 16)[64];
    const counts = [1, 2, 4, 8, 16, 32, 64];
    const schemes = { Lie: { make: lie, order: 1, kind: "first" }, Strang: { make: strang, order: 2, kind: "second" } };
    for (const scheme of Object.values(schemes)) {
      scheme.errors = counts.map((n) => distance(trajectory(scheme.make(theta, c, 1 / n), start, n)[n], end));
    }
    const plane = panel(panels, "where the token goes", { x: [-2.1, 0.2], y: [0.1, 1.3], xLabel: "feature 1", xTicks: [-2, -1, 0], yTicks: [0.5, 1] });
    const plot = panel(panels, "error at time 1", { x: [1 / 64, 1], y: [1e-7, 1], xLabel: "step size h", xTicks: [1 / 64, 1 / 8, 1], yTicks: [1e-6, 1e-3, 1] }, true);
    let redraw = () => {};
    const place = slider(controls, "steps", [0, 6, 1], 1, () => redraw(), (v) => `${counts[v]}, h = 1/${counts[v]}`);
    draw.line(exact(64, 4).map(plane.place), "axis", plane.fixed);
    for (const [name, { errors, kind }] of Object.entries(schemes)) {
      draw.line(errors.map((e, i) => plot.place([1 / counts[i], e])), kind, plot.fixed);
      draw.text(axpy(1, [6, name === "Lie" ? -8 : 16], plot.place([1 / 4, errors[2]])), name, "label left", plot.fixed);
    }
    redraw = () => {
      const i = place(), n = counts[i], before = Math.max(i - 1, 0), said = [];
      plane.moving.replaceChildren();
      plot.moving.replaceChildren();
      for (const [name, { make, errors, kind }] of Object.entries(schemes)) {
        const path = trajectory(make(theta, c, 1 / n), start, n);
        draw.line(path.map(plane.place), kind, plane.moving);
        path.forEach((z) => draw.dot(plane.place(z), 3, `${kind} filled`, plane.moving));
        draw.dot(plot.place([1 / n, errors[i]]), 5, `${kind} filled`, plot.moving);
        said.push(`${name} ${errors[i].toExponential(1).replace("-", "−")}` + (i ? `, ${(errors[before] / errors[i]).toFixed(1)} times smaller than with steps twice as long` : ""));
      }
      words.textContent = `${n} step${n > 1 ? "s" : ""} to time 1, error: ${said.join("; ")}. Grey: the exact flow.`;
    };
    redraw();
  }

  const figures = { "flow-field": flowField, "step-size": stepSize, splitting };

  /* On a phone a table of a few wordy columns is shown as cards (imr.css): each cell says what its column is. */
  function labelCells() {
    for (const table of document.querySelectorAll(".bd-article table")) {
      const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
      if (heads.length < 3 || heads.length > 5) continue;
      table.classList.add("imr-cards");
      for (const row of table.querySelectorAll("tbody tr")) [...row.cells].forEach((cell, i) => { cell.dataset.label = heads[i]; });
    }
  }

  /* What scrolls inside its own box can be reached with the keyboard. */
  function scrollByKeys() {
    for (const box of document.querySelectorAll("pre, table, .output, div.math, mjx-container, .pst-scrollable-table-container")) {
      if (box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX !== "visible") box.tabIndex = 0;
    }
  }

  /* Search shows excerpts that it fetches, and no file may be fetched by a page that is one. */
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

  document.addEventListener("DOMContentLoaded", () => {
    for (const root of document.querySelectorAll(".imr-live")) figures[root.dataset.figure](root);
  });
  window.addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    labelCells();
    scrollByKeys();
    document.documentElement.dataset.imr = "ready";
  });

  return { softmax, loss, velocity, lie, strang, trajectory, certainStep, CORNERS }; // for the book's tests
})();
