/* Drawing: panels, sliders and points that move, in plain SVG. */
"use strict";

imr.plot = (() => {
  const NS = "http://www.w3.org/2000/svg";
  const SIZE = 300; // of a panel, in its own units, and of the margin around its frame
  const EDGE = 34;
  const INSIDE = SIZE - 2 * EDGE;

  function filled(node, attributes, parent, text) {
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  }

  const svg = (name, ...rest) => filled(document.createElementNS(NS, name), ...rest);
  const html = (name, ...rest) => filled(document.createElement(name), ...rest);

  const near = (v) => v.toFixed(1);
  const draw = {
    line: (points, kind, parent) =>
      svg("polyline", { points: points.map((p) => p.map(near).join()).join(" "), class: kind }, parent),
    dot: (p, r, kind, parent) => svg("circle", { cx: near(p[0]), cy: near(p[1]), r, class: kind }, parent),
    text: (p, words, kind, parent) => svg("text", { x: near(p[0]), y: near(p[1]), class: kind }, parent, words),
  };

  /* Numbers in words, with a true minus sign. */
  const minus = (text) => text.replaceAll("-", "−");
  const shown = (v) => minus(Math.abs(v) < 0.001 && v !== 0 ? v.toExponential(1) : v.toFixed(3));
  function tick(v) {
    if (!(v > 0 && v < 1 && Number.isInteger(1 / v))) return minus(String(v));
    return 1 / v > 999 ? minus(v.toExponential(0)) : `1/${1 / v}`;
  }

  /* From numbers to places in a panel. */
  function placing(range, log) {
    const linear = (v, ends) => (v - ends[0]) / (ends[1] - ends[0]);
    const scale = log ? (v, ends) => linear(Math.log(v), ends.map(Math.log)) : linear;
    return ([x, y]) => [EDGE + INSIDE * scale(x, range.x), SIZE - EDGE - INSIDE * scale(y, range.y)];
  }

  /* From where the pointer is to numbers, on linear axes. */
  function reading(node, range) {
    return (event) => {
      const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(node.getScreenCTM().inverse());
      const part = [(p.x - EDGE) / INSIDE, (SIZE - EDGE - p.y) / INSIDE];
      return [range.x, range.y].map((ends, a) =>
        Math.min(ends[1], Math.max(ends[0], ends[0] + part[a] * (ends[1] - ends[0]))),
      );
    };
  }

  /* A panel with a layer for what stays and one for what moves; logarithmic axes where asked. */
  function panel(parent, title, range, log) {
    const node = svg("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "group", "aria-label": title }, parent);
    const place = placing(range, log);
    svg("rect", { x: EDGE, y: EDGE, width: INSIDE, height: INSIDE, class: "frame" }, node);
    const id = `clip-${Math.random().toString(36).slice(2)}`;
    const clip = svg("clipPath", { id }, node);
    svg("rect", { x: EDGE - 6, y: EDGE - 6, width: INSIDE + 12, height: INSIDE + 12 }, clip);
    draw.text([SIZE / 2, 20], title, "title", node);
    draw.text([SIZE / 2, SIZE - 6], range.xLabel || "", "label", node);
    for (const v of range.xTicks || []) draw.text([place([v, range.y[0]])[0], SIZE - EDGE + 14], tick(v), "tick", node);
    for (const v of range.yTicks || []) draw.text([EDGE - 4, place([range.x[0], v])[1] + 4], tick(v), "tick right", node);
    const layer = () => svg("g", { "clip-path": `url(#${id})` }, node);
    return { node, place, back: reading(node, range), fixed: layer(), moving: layer() };
  }

  /* A slider that says its value; the result reads it. */
  function slider(parent, label, [min, max, step], value, change, say = shown) {
    const box = html("label", {}, parent, `${label} `);
    const input = html("input", { type: "range", min, max, step, value }, box);
    const output = html("output", {}, box);
    const update = () => {
      output.textContent = say(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => {
      update();
      change();
    });
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

  const MOVES = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };

  /* A point that the mouse, a finger or the arrow keys move; the result puts it somewhere. */
  function handle(view, at, label, change) {
    const slides = { role: "slider", "aria-label": label, "aria-valuemin": -3, "aria-valuemax": 3 };
    const node = svg("circle", { r: 8, class: "handle", tabindex: 0, ...slides }, view.node);
    const set = (z) => {
      at.splice(0, 2, ...z.map((v) => Math.min(3, Math.max(-3, v))));
      const [x, y] = view.place(at);
      const words = `feature 1 is ${at[0].toFixed(2)}, feature 2 is ${at[1].toFixed(2)}`;
      filled(node, { cx: x, cy: y, "aria-valuenow": at[0].toFixed(2), "aria-valuetext": words });
      change();
    };
    node.addEventListener("keydown", (event) => {
      if (!(event.key in MOVES)) return;
      event.preventDefault();
      set(imr.flow.axpy(1, MOVES[event.key], at));
    });
    draggedTo(view, node, set);
    return set;
  }

  function draggedTo(view, node, set) {
    view.node.style.touchAction = "none";
    view.node.addEventListener("pointerdown", (event) => {
      view.node.setPointerCapture(event.pointerId);
      node.focus();
      set(view.back(event));
    });
    view.node.addEventListener("pointermove", (event) => {
      if (view.node.hasPointerCapture(event.pointerId)) set(view.back(event));
    });
  }

  return { html, draw, shown, minus, panel, slider, frame, handle };
})();
