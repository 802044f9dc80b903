/* Start the slides once mathematics is typeset and the figures that move are drawn. */
"use strict";

window.MathJax = { tex: { inlineMath: [["\\(", "\\)"]], displayMath: [["\\[", "\\]"]] } };

const HEIGHT = 720;

/* A long statement is set smaller, down to five sevenths. */
function fit({ currentSlide }) {
  for (let size = 26; size >= 20 && currentSlide.scrollHeight > HEIGHT; size -= 2) {
    currentSlide.style.fontSize = `${size}px`;
  }
}

window.addEventListener("load", async () => {
  await window.MathJax.startup.promise;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  Reveal.on("ready", fit);
  Reveal.on("slidechanged", fit);
  await Reveal.initialize({
    width: 1280,
    height: HEIGHT,
    margin: 0.04,
    center: false,
    hash: true,
    slideNumber: "c/t",
    transition: still ? "none" : "fade",
  });
  document.documentElement.dataset.slides = "ready";
});
