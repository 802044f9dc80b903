/* Run and change a page's cells in the browser. Python (Pyodide) and SymPy are served beside the pages, if `make live` has
   fetched them, and are loaded when a reader asks for them; nothing is asked of another host. */
"use strict";

(() => {
  const base = new URL(`${document.documentElement.dataset.content_root}live/`, document.baseURI);
  const RUNNER = `
import ast, contextlib, io, json, traceback

space = {"__name__": "__main__"}

def run(source):
    printed, value, failed = io.StringIO(), None, None
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            body = ast.parse(source).body
            last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
            exec(compile(ast.Module(body, []), "<cell>", "exec"), space)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), space)
        except ModuleNotFoundError as error:
            failed = (f"This cell needs {error.name}, which does not run in a browser. "
                      "Download the notebook (arrow at the top) and run it on your machine, or in Colab.")
        except NameError as error:
            failed = f"{error}. Perhaps an earlier cell needs torch, which does not run in a browser."
        except BaseException as error:
            own = getattr(error, "_render_traceback_", None)
            failed = "\\n".join(own() if own else traceback.format_exception_only(error))
    latex = getattr(value, "_repr_latex_", lambda: None)()
    shown = None if value is None else repr(value)
    return json.dumps({"printed": printed.getvalue(), "value": shown, "latex": latex, "failed": failed})

run
`;
  let starting = null;

  /* Load Python once; the promise is of the function that runs a cell. */
  async function start(say) {
    if (location.protocol === "file:")
      throw new Error("Cells run only on a served page, not on a file: make live, then make serve.");
    say("Loading Python (20 MB, once) …");
    const { loadPyodide } = await import(new URL("pyodide.mjs", base)).catch(() => {
      throw new Error("Python is not beside these pages. Whoever serves them can put it there: make live, then make book.");
    });
    const python = await loadPyodide({ indexURL: base.href });
    const packages = python.runPython("import site; site.getsitepackages()[0]");
    for (const name of ["mpmath-1.3.0-py3-none-any.zip", "sympy-1.14.0-py3-none-any.zip", "imr.zip"]) {
      const file = await fetch(new URL(name, base));
      if (!file.ok) throw new Error(`${name} is missing beside the pages: make live, then make book.`);
      python.unpackArchive(await file.arrayBuffer(), "zip", { extractDir: packages });
    }
    const run = python.runPython(RUNNER);
    return (source) => JSON.parse(run(source));
  }

  const cells = [];

  function prepare(root) {
    const shown = root.querySelector(".cell_input pre");
    if (!shown) return;
    const source = shown.textContent.replace(/\n$/, ""),
      cell = { source, done: false, root };
    const bar = document.createElement("div"),
      edit = document.createElement("button");
    bar.className = "imr-cell";
    edit.type = "button";
    edit.textContent = "Try it";
    edit.title = "change this cell and run it here, in the browser";
    bar.append(edit);
    root.querySelector(".cell_input").append(bar);
    cells.push(cell);
    edit.addEventListener("click", () => open(cell, bar, shown));
  }

  function open(cell, bar, shown) {
    const box = document.createElement("textarea"),
      out = document.createElement("div");
    box.value = cell.source;
    box.rows = cell.source.split("\n").length + 1;
    box.spellcheck = false;
    box.setAttribute("aria-label", "code of this cell");
    out.className = "imr-result";
    out.setAttribute("role", "status");
    const button = (text, act) => {
      const node = document.createElement("button");
      node.type = "button";
      node.textContent = text;
      node.addEventListener("click", act);
      return node;
    };
    const again = () => run(cell, box, out);
    const close = () => {
      cell.source = shown.textContent.replace(/\n$/, "");
      bar.replaceChildren(first);
      out.remove();
      first.focus();
    };
    const first = bar.firstChild;
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.shiftKey || event.ctrlKey)) {
        event.preventDefault();
        again();
      }
    });
    bar.replaceChildren(box, button("Run (shift + enter)", again), button("Back to the book's cell", close), out);
    box.focus();
  }

  async function run(cell, box, out) {
    const say = (text) => {
      out.textContent = text;
    };
    try {
      starting ??= start(say);
      const python = await starting;
      say("Running …");
      await new Promise((done) => setTimeout(done));
      for (const earlier of cells.slice(0, cells.indexOf(cell)).filter((c) => !c.done)) {
        python(earlier.source);
        earlier.done = true;
      }
      cell.source = box.value;
      cell.done = true;
      show(python(cell.source), out);
    } catch (error) {
      starting = null;
      say(error.message);
    }
  }

  function show({ printed, value, latex, failed }, out) {
    out.replaceChildren();
    const add = (name, text) => {
      const node = document.createElement(name);
      node.textContent = text;
      out.append(node);
      return node;
    };
    if (printed) add("pre", printed);
    if (latex) {
      const formula = add("div", latex.replace(/^\$/, "\\(").replace(/\$$/, "\\)"));
      formula.className = "tex2jax_process";
      window.MathJax?.typesetPromise?.([formula]);
    } else if (value !== null) add("pre", value);
    if (failed) {
      const words = add("p", failed),
        colab = document.querySelector('.dropdown-launch-buttons a[href*="colab"]');
      words.className = "failed";
      if (colab && /does not run in a browser/.test(failed)) {
        words.append(" ", Object.assign(document.createElement("a"), { href: colab.href, textContent: "Open it there." }));
      }
    }
    if (!out.hasChildNodes()) add("p", "Done; the cell prints nothing.");
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("div.cell").forEach(prepare));
})();
