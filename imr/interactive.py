"""Pictures that a reader can move, as one piece of HTML: no library, no network, the keyboard works."""

import base64
import hashlib
import html
import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from PIL import Image
from torch import Tensor


class HTML(str):
    """A string that notebooks and the book show as HTML."""

    def _repr_html_(self) -> str:
        return str(self)


def iterates(Z: Tensor, names: Sequence[str], sigmas: Sequence[float] = (0.0,)) -> HTML:
    """Show the iterates of several images, and each one's difference to Z⁽⁰⁾, with a slider over the iterates.

    The reader also chooses the image and the noise, where there are several. Without scripts all iterates at the first
    noise stand side by side. The slider starts at the last iterate.

    Args:
        Z: (noise levels, images, L + 1, height, width), pixels in [0, 1].
        names: one for each image; used in the texts for those who do not see the pictures.
        sigmas: one for each noise level.

    Raises:
        ValueError: not one name for each image, or not one σ for each noise level.
    """
    if Z.ndim != 5 or (len(sigmas), len(names)) != Z.shape[:2]:
        raise ValueError(
            f"Z has shape {tuple(Z.shape)} and there are {len(sigmas)} noise levels and {len(names)} names, "
            "expected (noise levels, images, L + 1, h, w), a σ and a name each"
        )
    shown = [html.escape(name) for name in names]
    limit = (Z - Z[:, :, :1]).abs().max().item() or 1.0  # one scale for all, so that they can be compared
    noisy = [f", σ = {sigma:g}" if len(sigmas) > 1 else "" for sigma in sigmas]
    groups = [
        f'<div data-noise="{i}"{" hidden" * (i > 0)}>'
        + "".join(_frames(image, name + noise, j, limit) for j, (image, name) in enumerate(zip(images, shown, strict=True)))
        + "</div>"
        for i, (images, noise) in enumerate(zip(Z, noisy, strict=True))
    ]
    choices = _choice("Image", "image", ["all", *shown]) if len(names) > 1 else ""
    choices += _choice("Noise σ", "noise", [f"{sigma:g}" for sigma in sigmas]) if len(sigmas) > 1 else ""
    name = "imr-" + hashlib.sha256(f"{names}{Z.shape}".encode()).hexdigest()[:8]
    return HTML(TEMPLATE.format(id=name, last=Z.shape[2] - 1, choices=choices, body="\n".join(groups)))


def page(body: HTML, title: str) -> str:
    """Wrap a piece of HTML into a page of its own that follows the reader's light or dark setting."""
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{html.escape(title)}</title>\n'
        f"<body style='font-family: sans-serif'>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


TEMPLATE = """<div class="imr-iterates" id="{id}">
<style>
.imr-iterates div {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
.imr-iterates p {{ margin: 0 0 0.5rem; }}
.imr-iterates label {{ margin-inline-end: 1rem; }}
.imr-iterates input {{ width: min(16rem, 50%); vertical-align: middle; }}
.imr-iterates figure {{ margin: 0; }}
.imr-iterates figcaption {{ text-align: center; }}
.imr-iterates img {{ width: 112px; height: 112px; display: block; margin: 0 0 4px; image-rendering: pixelated; }}
.imr-iterates span {{ display: inline-block; }}
.imr-iterates [hidden] {{ display: none; }}
</style>
<p hidden>{choices}<label>Iterate <input type="range" min="0" max="{last}" step="1" value="{last}">
<output>{last}</output> of {last}</label></p>
{body}
<script>
(function () {{
  const root = document.getElementById("{id}"), input = root.querySelector("input");
  const chosen = (name, other) => root.querySelector("select[name=" + name + "]")?.value ?? other;
  const show = function () {{
    const image = chosen("image", "0"), noise = chosen("noise", "0");
    for (const frame of root.querySelectorAll("[data-iterate]")) frame.hidden = frame.dataset.iterate !== input.value;
    for (const group of root.querySelectorAll("[data-noise]")) group.hidden = group.dataset.noise !== noise;
    for (const figure of root.querySelectorAll("figure")) figure.hidden = image !== "0" && figure.dataset.image !== image;
    root.querySelector("output").textContent = input.value;
  }};
  root.addEventListener("input", show);
  root.querySelector("p").hidden = false;
  show();
}})();
</script>
</div>"""


def _choice(label: str, name: str, options: Sequence[str]) -> str:
    """A labelled list to choose from."""
    items = "".join(f'<option value="{i}">{option}</option>' for i, option in enumerate(options))
    return f'<label>{label} <select name="{name}">{items}</select></label>\n'


def _frames(image: Tensor, name: str, number: int, limit: float) -> str:
    """All iterates (L + 1, height, width) of one image, and under each its difference to the first."""
    pixels = image.numpy()
    change, last = pixels - pixels[:1], len(pixels) - 1
    frames = [
        f'<span data-iterate="{i}">{_img(_grey(iterate), f"{name}, iterate {i} of {last}")}'
        f"{_img(_red_blue(difference), f'{name}, iterate {i} minus iterate 0: red lighter, blue darker')}</span>"
        for i, (iterate, difference) in enumerate(zip(pixels, change / limit, strict=True))
    ]
    return f'<figure data-image="{number + 1}">{"".join(frames)}<figcaption>{name}</figcaption></figure>'


def _grey(image: np.ndarray) -> np.ndarray:
    return (255 * image.clip(0, 1)).round().astype("uint8")


def _red_blue(difference: np.ndarray) -> np.ndarray:
    """Colour −1 … 1 from blue over white to red."""
    return mpl.colormaps["RdBu_r"]((difference + 1) / 2, bytes=True)[..., :3]


def _img(pixels: np.ndarray, text: str) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return f'<img alt="{text}" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
