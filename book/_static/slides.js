/* Start the slides once mathematics is typeset and the figures that move are drawn. */
"use strict";

window.MathJax = { tex: { inlineMath: [["\\(", "\\)"]], displayMath: [["\\[", "\\]"]] } };

window.addEventListener("load", async () => {
  await window.MathJax.startup.promise;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  await Reveal.initialize({
    width: 1280,
    height: 720,
    margin: 0.04,
    center: false,
    hash: true,
    slideNumber: "c/t",
    transition: still ? "none" : "fade",
  });
  document.documentElement.dataset.slides = "ready";
});
