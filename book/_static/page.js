/* What concerns every page: tables on a phone, the keyboard, search from a file. */
"use strict";

(() => {
  /* On a phone a table of a few wordy columns is shown as cards (imr.css): each cell says what its column is. */
  function labelCells() {
    for (const table of document.querySelectorAll(".bd-article table")) {
      const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
      if (heads.length < 3 || heads.length > 5) continue;
      table.classList.add("imr-cards");
      for (const row of table.querySelectorAll("tbody tr")) {
        [...row.cells].forEach((cell, i) => {
          cell.dataset.label = heads[i];
        });
      }
    }
  }

  /* What scrolls inside its own box can be reached with the keyboard. */
  function scrollByKeys() {
    const boxes = "pre, table, .output, div.math, mjx-container, .pst-scrollable-table-container";
    for (const box of document.querySelectorAll(boxes)) {
      if (box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX !== "visible") box.tabIndex = 0;
    }
  }

  /* Search shows excerpts that it fetches, and no file may be fetched by a page that is one. */
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  }

  window.addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    labelCells();
    scrollByKeys();
    document.documentElement.dataset.imr = "ready"; // for the book's tests, and for print
  });
})();
