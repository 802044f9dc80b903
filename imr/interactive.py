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


def iterates(Z: Tensor, names: Sequence[str]) -> HTML:
    """Show the iterates of several images, and each one's difference to Z⁽⁰⁾, with a slider over the iterates.

    Without scripts all iterates stand side by side. The slider starts at the last iterate.

    Args:
        Z: (images, L + 1, height, width), pixels in [0, 1].
        names: one for each image; used in the texts for those who do not see the pictures.

    Raises:
        ValueError: not one name for each image.
    """
    if Z.ndim != 4 or len(names) != len(Z):
        raise ValueError(
            f"Z has shape {tuple(Z.shape)} and there are {len(names)} names, expected (images, L + 1, h, w), a name each"
        )
    pixels = Z.numpy()
    change = pixels - pixels[:, :1]
    limit = abs(change).max() or 1.0
    last, rows = Z.shape[1] - 1, []
    for name, images, differences in zip(map(html.escape, names), pixels, change / limit, strict=True):
        frames = [
            f'<span data-iterate="{i}">{_img(_grey(image), f"{name}, iterate {i} of {last}")}'
            f"{_img(_red_blue(difference), f'{name}, iterate {i} minus iterate 0: red lighter, blue darker')}</span>"
            for i, (image, difference) in enumerate(zip(images, differences, strict=True))
        ]
        rows.append(f"<figure>{''.join(frames)}<figcaption>{name}</figcaption></figure>")
    body = "\n".join(rows)
    name = "imr-" + hashlib.sha256(f"{names}{Z.shape}".encode()).hexdigest()[:8]
    return HTML(TEMPLATE.format(id=name, last=last, body=body))


def page(body: HTML, title: str) -> str:
    """Wrap a piece of HTML into a page of its own that follows the reader's light or dark setting."""
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{html.escape(title)}</title>\n'
        f"<body style='font-family: sans-serif'>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


TEMPLATE = """<div class="imr-iterates" id="{id}">
<style>
.imr-iterates {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
.imr-iterates p {{ flex-basis: 100%; margin: 0; }}
.imr-iterates input {{ width: min(20rem, 60%); vertical-align: middle; }}
.imr-iterates figure {{ margin: 0; }}
.imr-iterates figcaption {{ text-align: center; }}
.imr-iterates img {{ width: 112px; height: 112px; display: block; margin: 0 0 4px; image-rendering: pixelated; }}
.imr-iterates span {{ display: inline-block; }}
.imr-iterates [hidden] {{ display: none; }}
</style>
<p hidden><label>Iterate <input type="range" min="0" max="{last}" step="1" value="{last}"></label>
<output>{last}</output> of {last}</p>
{body}
<script>
(function () {{
  const root = document.getElementById("{id}"), input = root.querySelector("input");
  const show = function () {{
    for (const frame of root.querySelectorAll("[data-iterate]")) frame.hidden = frame.dataset.iterate !== input.value;
    root.querySelector("output").textContent = input.value;
  }};
  input.addEventListener("input", show);
  root.querySelector("p").hidden = false;
  show();
}})();
</script>
</div>"""


def _grey(image: np.ndarray) -> np.ndarray:
    return (255 * image.clip(0, 1)).round().astype("uint8")


def _red_blue(difference: np.ndarray) -> np.ndarray:
    """Colour −1 … 1 from blue over white to red."""
    return mpl.colormaps["RdBu_r"]((difference + 1) / 2, bytes=True)[..., :3]


def _img(pixels: np.ndarray, text: str) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return f'<img alt="{text}" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
