/* Figures that a reader can move. No library, no network; they work from file://, too.
   A page holds <figure class="imr-live" data-figure="NAME">; what stands inside is what readers without scripts see. */
"use strict";

(() => {
  const { CORNERS, axpy, certainStep, distance, euler, lie, logits, loss, rk4, softmax, strang, trajectory, velocity } =
    imr.flow;
  const { draw, frame, handle, html, minus, panel, shown, slider } = imr.plot;

  /* A path drawn into what moves in a panel. */
  function retrace(view, points, size) {
    view.moving.replaceChildren();
    draw.line(points.map(view.place), "path", view.moving);
    for (const p of points) draw.dot(view.place(p), size, "step", view.moving);
  }

  /* The plane of features with arrows of the flow. */
  function featurePlane(panels, theta) {
    const axes = { xTicks: [-3, 0, 3], yTicks: [-3, 0, 3] };
    const plane = panel(panels, "features", { x: [-3, 3], y: [-3, 3], xLabel: "feature 1", ...axes });
    function arrow(z, c) {
      const v = velocity(z, theta, c);
      const length = Math.hypot(...v) || 1;
      const tip = axpy((0.12 + 0.1 * Math.min(length, 2)) / length, v, z);
      draw.line([plane.place(z), plane.place(tip)], "arrow", plane.fixed);
      draw.dot(plane.place(tip), 1.8, "arrowhead", plane.fixed);
    }
    function field(c) {
      plane.fixed.replaceChildren();
      for (let x = -2.75; x < 3; x += 0.5) for (let y = -2.75; y < 3; y += 0.5) arrow([x, y], c);
      theta.forEach((p, j) => {
        draw.dot(plane.place(p), 7, `class-${j}`, plane.fixed);
        draw.text(axpy(1, [11, 4], plane.place(p)), `θ${j}`, "label left", plane.fixed);
      });
    }
    return { plane, field };
  }

  /* The triangle of the probabilities of three classes, and a path in it. */
  function simplexPanel(panels) {
    const tops = [
      [0.5, 0.933],
      [0, 0.067],
      [1, 0.067],
    ];
    const simplex = panel(panels, "probabilities", { x: [-0.08, 1.08], y: [-0.08, 1.08] });
    const corner = (p) => simplex.place([0, 1].map((a) => p.reduce((s, v, j) => s + v * tops[j][a], 0)));
    const unit = (j) => [0, 1, 2].map((i) => Number(i === j));
    const edges = [0, 1, 2, 0].map((j) => corner(unit(j)));
    draw.line(edges, "axis", simplex.fixed);
    tops.forEach(([x, y], j) => {
      draw.text(simplex.place([x, y + (j ? -0.09 : 0.03)]), `class ${j}`, "label", simplex.node);
    });
    return (chances) => {
      simplex.moving.replaceChildren();
      draw.line(chances.map(corner), "path", simplex.moving);
      for (const p of chances) draw.dot(corner(p), 2, "step", simplex.moving);
      draw.dot(corner(chances[0]), 5, "begin", simplex.moving);
    };
  }

  function flowField(root) {
    const theta = CORNERS;
    const { controls, panels, words } = frame(root);
    const { plane, field } = featurePlane(panels, theta);
    const probabilities = simplexPanel(panels);
    const box = html("label", {}, controls, "class of the token ");
    const choice = html("select", {}, box);
    for (const j of theta.keys()) html("option", { value: j }, choice, String(j));
    const start = [-1.5, -1];
    const h = slider(controls, "step size h", [0.05, 3, 0.05], 0.25, redraw, (v) => v.toFixed(2));
    function redraw() {
      const c = Number(choice.value);
      const step = euler((z) => velocity(z, theta, c), h());
      const states = trajectory(step, [...start], 60);
      const chances = states.map((z) => softmax(logits(z, theta)));
      field(c);
      retrace(plane, states, 2);
      probabilities(chances);
      const [before, after] = [0, 60].map((i) => shown(loss(states[i], theta, c)));
      const from = start.map((v) => minus(v.toFixed(2))).join(", ");
      words.textContent =
        `From (${from}): 60 steps of size ${h().toFixed(2)} take the loss from ${before} to ${after}, and the probability ` +
        `of class ${c} from ${shown(chances[0][c])} to ${shown(chances[60][c])}. Steps below 2/Λ = ` +
        `${certainStep(theta).toFixed(2)} are certain to descend. Drag the start, or move it with the arrow keys.`;
    }
    choice.addEventListener("change", redraw);
    handle(plane, start, "start of the token", redraw)(start);
  }

  /* Prototypes ±1 on a line, label half and half: L(z) = log(2 cosh z), Λ = 1. */
  const logCosh = (z) => Math.abs(z) + Math.log1p(Math.exp(-2 * Math.abs(z)));

  /* The loss over the feature, with the steps on it, and over the steps. */
  function lossPanels(panels) {
    const up = { y: [0, 4], yTicks: [0, 2, 4] };
    const along = { x: [-4, 4], xLabel: "feature z", xTicks: [-4, 0, 4], ...up };
    const valley = panel(panels, "the loss, and the steps on it", along);
    const steps = { x: [0, 30], xLabel: "step", xTicks: [0, 10, 20, 30], ...up };
    const curve = panel(panels, "the loss at each step", steps);
    const grid = Array.from({ length: 161 }, (_, i) => -4 + i / 20);
    const points = grid.map((z) => valley.place([z, logCosh(z)]));
    draw.line(points, "axis", valley.fixed);
    return { valley, curve };
  }

  function stepSize(root) {
    const { controls, panels, words } = frame(root);
    const { valley, curve } = lossPanels(panels);
    const times = (v) => `${v.toFixed(2)} = ${(v / 2).toFixed(3)} × 2/Λ`;
    const h = slider(controls, "step size h", [0.1, 5, 0.05], 1.9, redraw, times);
    const z0 = slider(controls, "start z", [0.05, 3.5, 0.05], 1, redraw, (v) => v.toFixed(2));
    function redraw() {
      const path = trajectory((z) => z - h() * Math.tanh(z), z0(), 30);
      const values = path.map(logCosh);
      const rises = values.slice(1).filter((v, i) => v > values[i] + 1e-12).length;
      const onValley = path.map((z, i) => [z, values[i]]);
      const onCurve = values.map((v, i) => [i, v]);
      retrace(valley, onValley, 3);
      retrace(curve, onCurve, 2.5);
      const side = h() < 2 ? "below 2/Λ = 2: every step is certain to descend" : "not below 2/Λ = 2: nothing is certain";
      words.textContent =
        `h = ${h().toFixed(2)}, ${side}. The loss goes from ${shown(values[0])} to ${shown(values[30])} ` +
        `and rises at ${rises} of 30 steps.`;
    }
    redraw();
  }

  const COUNTS = [1, 2, 4, 8, 16, 32, 64];

  /* The path of each scheme at each number of steps, and how far its end is from the end of the flow. */
  function splittings(theta, c, start) {
    const field = (z) => velocity(z, theta, c);
    const exact = (count, parts) => trajectory(rk4(field, 1 / count, parts), start, count);
    const end = exact(64, 16)[64];
    const scheme = (name, make, kind, below) => {
      const paths = COUNTS.map((n) => trajectory(make(theta, c, 1 / n), start, n));
      const errors = paths.map((path, i) => distance(path[COUNTS[i]], end));
      return { name, kind, below, paths, errors };
    };
    return { exact: exact(64, 4), schemes: [scheme("Lie", lie, "first", -8), scheme("Strang", strang, "second", 16)] };
  }

  function splitting(root) {
    const { controls, panels, words } = frame(root);
    const { exact, schemes } = splittings(CORNERS, 0, [-2, 1.2]);
    const where = { x: [-2.1, 0.2], y: [0.1, 1.3], xLabel: "feature 1", xTicks: [-2, -1, 0], yTicks: [0.5, 1] };
    const plane = panel(panels, "where the token goes", where);
    const ticks = { xTicks: [1 / 64, 1 / 8, 1], yTicks: [1e-6, 1e-3, 1] };
    const powers = { x: [1 / 64, 1], y: [1e-7, 1], xLabel: "step size h", ...ticks };
    const plot = panel(panels, "error at time 1", powers, true);
    const place = slider(controls, "steps", [0, 6, 1], 1, redraw, (v) => `${COUNTS[v]}, h = 1/${COUNTS[v]}`);
    draw.line(exact.map(plane.place), "axis", plane.fixed);
    for (const { name, kind, below, errors } of schemes) {
      const points = errors.map((e, i) => plot.place([1 / COUNTS[i], e]));
      draw.line(points, kind, plot.fixed);
      draw.text(axpy(1, [6, below], points[2]), name, "label left", plot.fixed);
    }
    function redraw() {
      const i = place();
      plane.moving.replaceChildren();
      plot.moving.replaceChildren();
      for (const { kind, paths, errors } of schemes) {
        draw.line(paths[i].map(plane.place), kind, plane.moving);
        for (const z of paths[i]) draw.dot(plane.place(z), 3, `${kind} filled`, plane.moving);
        draw.dot(plot.place([1 / COUNTS[i], errors[i]]), 5, `${kind} filled`, plot.moving);
      }
      const steps = `${COUNTS[i]} step${i ? "s" : ""} to time 1`;
      words.textContent = `${steps}, error: ${schemes.map((s) => errorInWords(s, i)).join("; ")}. Grey: the exact flow.`;
    }
    redraw();
  }

  function errorInWords({ name, errors }, i) {
    const error = `${name} ${minus(errors[i].toExponential(1))}`;
    return i ? `${error}, ${(errors[i - 1] / errors[i]).toFixed(1)} times smaller than with steps twice as long` : error;
  }

  const figures = { "flow-field": flowField, "step-size": stepSize, splitting };

  document.addEventListener("DOMContentLoaded", () => {
    for (const root of document.querySelectorAll(".imr-live")) figures[root.dataset.figure](root);
  });
})();
