"""What leans on what: the statements as a graph, from what their proofs cite, drawn as SVG.

``{leaning}`` in a page draws it. A statement stands to the right of those that its proof cites. In SVG a link is a link, so
the picture needs no script. Statements that lean on each other in a circle are a warning of the build.
"""

from collections.abc import Callable, Hashable
from html import escape
from itertools import pairwise
from textwrap import wrap

import networkx as nx
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from _tools import statements
from _tools.statements import Statement

logger = logging.getLogger(__name__)

WIDTH, HEIGHT, GAP, ROW = 118, 70, 24, 12  # of a box, between columns and between rows, pixels; all even
STOP, LINE = 14, 13  # heights of a place where a line passes between boxes, and of a line of text
LETTERS = 19  # of a line in a box
SWEEPS = 8
Place = tuple[float, float]


def leaning(stated: dict[str, Statement]) -> nx.DiGraph:
    """The graph of the statements by label, with an edge from each to those whose proofs cite it or an equation of it.

    A proof that cites an equation of its own statement leans on nothing by that.
    """
    states = {equation: label for label, statement in stated.items() for equation in statement.equations}
    graph = nx.DiGraph()
    graph.add_nodes_from(stated)
    for label, statement in stated.items():
        graph.add_edges_from((cited, label) for cited in statement.cited if cited in stated)
        graph.add_edges_from((states[cited], label) for cited in statement.cited if states.get(cited, label) != label)
    return graph


def circle(graph: nx.DiGraph) -> list[str]:
    """Labels of statements that lean on each other in a circle; empty if there is none."""
    try:
        return [start for start, _ in nx.find_cycle(graph)]
    except nx.NetworkXNoCycle:
        return []


def svg(graph: nx.DiGraph, named: Callable[[str], tuple[str, str]], address: Callable[[str], str]) -> str:
    """Draw a graph without circles.

    Args:
        graph: edges go from what is cited to what cites it.
        named: the number ("Theorem 3.1") and the title of a statement, by label.
        address: where its link leads.
    """
    columns = _columns(graph)
    places = _places(columns)
    width = len(columns) * (WIDTH + GAP) - GAP
    height = max(y for _, y in places.values()) + HEIGHT / 2
    edges = [f'<path d="{_path([places[stop] for stop in stops])}"/>' for stops in _stops(graph, places)]
    boxes = [_box(label, places[label], graph, named, address) for label in graph]
    return "\n".join(
        [
            f'<svg class="imr-graph" role="group" aria-labelledby="graph-title graph-text" viewBox="-1 -1 {width + 2} '
            f'{height + 2:.0f}" width="{width + 2}" height="{height + 2:.0f}" xmlns="http://www.w3.org/2000/svg">',
            '<title id="graph-title">What leans on what</title>',
            f'<desc id="graph-text">{len(graph)} statements, each to the right of those that its proof cites.</desc>',
            '<g class="edges">',
            *edges,
            "</g>",
            *boxes,
            "</svg>",
        ]
    )


def _columns(graph: nx.DiGraph) -> list[list[Hashable]]:
    """Statements in columns, as far right as what leans on them allows; a long edge has a stop in each column between.

    Each column is sorted by where its neighbours stand, to and fro, so that few edges cross.
    """
    rank = {label: number for number, column in enumerate(nx.topological_generations(graph)) for label in column}
    for label in reversed(list(nx.topological_sort(graph))):
        rank[label] = min((rank[after] - 1 for after in graph[label]), default=rank[label])
    columns: list[list[Hashable]] = [[] for _ in range(max(rank.values()) + 1)]
    for label in graph:
        columns[rank[label]].append(label)
    chains = nx.Graph()
    chains.add_nodes_from(graph)
    for start, end in graph.edges:
        stops = [(start, end, number) for number in range(rank[start] + 1, rank[end])]
        for stop in stops:
            columns[stop[2]].append(stop)
        nx.add_path(chains, [start, *stops, end])
    for sweep in range(SWEEPS):
        order = columns if sweep % 2 == 0 else columns[::-1]
        for fixed, column in pairwise(order):
            row = {node: (number + 0.5) / len(fixed) for number, node in enumerate(fixed)}
            _sort_by_neighbours(column, row, chains)
    return columns


def _sort_by_neighbours(column: list[Hashable], row: dict[Hashable, float], chains: nx.Graph) -> None:
    own = {node: (number + 0.5) / len(column) for number, node in enumerate(column)}

    def mean(node: Hashable) -> float:
        rows = [row[other] for other in chains[node] if other in row]
        return sum(rows) / len(rows) if rows else own[node]

    column.sort(key=mean)


def _places(columns: list[list[Hashable]]) -> dict[Hashable, Place]:
    """The middle of each box and of each stop; columns are centred."""
    tall = [[STOP if isinstance(node, tuple) else HEIGHT for node in column] for column in columns]
    heights = [sum(sizes) + ROW * (len(sizes) - 1) for sizes in tall]
    places = {}
    for number, (column, sizes) in enumerate(zip(columns, tall, strict=True)):
        top = (max(heights) - heights[number]) / 2
        for node, size in zip(column, sizes, strict=True):
            places[node] = (number * (WIDTH + GAP) + WIDTH / 2, top + size / 2)
            top += size + ROW
    return places


def _stops(graph: nx.DiGraph, places: dict[Hashable, Place]) -> list[list[Hashable]]:
    between = sorted((node for node in places if isinstance(node, tuple)), key=lambda stop: stop[2])
    return [[start, *(stop for stop in between if stop[:2] == (start, end)), end] for start, end in graph.edges]


def _path(stops: list[Place]) -> str:
    """A line from the right of one box to the left of another, level where it passes between others."""
    x, y = stops[0]
    path = f"M{x + WIDTH / 2:.0f} {y:.0f}"
    for x, y in stops[1:]:
        left, middle = x - WIDTH / 2, x - WIDTH / 2 - GAP / 2
        path += f"C{middle:.0f} {stops[0][1]:.0f} {middle:.0f} {y:.0f} {left:.0f} {y:.0f}"
        if (x, y) != stops[-1]:
            path += f"H{x + WIDTH / 2:.0f}"
        stops = [(x, y), *stops[2:]]
    return path


def _box(
    label: str, place: Place, graph: nx.DiGraph, named: Callable[[str], tuple[str, str]], address: Callable[[str], str]
) -> str:
    number, title = named(label)
    lines = wrap(title, LETTERS)
    x, y = place[0] - WIDTH / 2, place[1] - HEIGHT / 2
    leans = ", ".join(named(cited)[0] for cited in graph.predecessors(label))
    says = f"{number} ({title})" + (f", leans on {leans}" if leans else "")
    first = place[1] - (len(lines) - 1) * LINE / 2 - 2
    text = [f'<text class="number" x="{place[0]:.0f}" y="{first:.0f}">{escape(number)}</text>']
    for row, line in enumerate(lines, 1):
        text.append(f'<text x="{place[0]:.0f}" y="{first + row * LINE:.0f}">{escape(line)}</text>')
    return (
        f'<a href="{escape(address(label))}" aria-label="{escape(says)}"><title>{escape(says)}</title>'
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>{"".join(text)}</a>'
    )


class leaning_graph(nodes.General, nodes.Element):
    """Stands in a page for the graph of the statements, until all numbers are known."""


class LeaningDirective(SphinxDirective):
    """``{leaning}``: the graph of what leans on what."""

    def run(self) -> list[nodes.Node]:
        """A place for it."""
        self.env.note_reread()
        return [leaning_graph()]


class DrawLeaning(SphinxPostTransform):
    """Draws the graph of the statements, and names those that it leaves out."""

    default_priority = 5

    def run(self, **options: object) -> None:
        """Replace each place for the graph."""
        for place in list(self.document.findall(leaning_graph)):
            whole = leaning(self.env.statements)
            alone = [label for label in whole if not whole.degree(label)]
            whole.remove_nodes_from(alone)
            drawn = [] if circle(whole) or not whole else [self._drawn(whole)]
            place.replace_self([*drawn, self._alone(alone)])

    def _drawn(self, whole: nx.DiGraph) -> nodes.raw:
        env = self.env
        named = lambda label: (statements.name(env, label, title=False), env.statements[label].title)
        address = lambda label: statements.link(self.app, env.docname, label)
        drawn = svg(whole, named, lambda label: address(label).get("refuri") or "#" + address(label)["refid"])
        return nodes.raw("", f'<div class="imr-scrolls">{drawn}</div>', format="html")

    def _alone(self, labels: list[str]) -> nodes.paragraph:
        paragraph = nodes.paragraph("", f"Not drawn, as they neither lean on another nor carry one ({len(labels)}): ")
        for number, label in enumerate(labels):
            link = statements.link(self.app, self.env.docname, label)
            paragraph += [nodes.Text("; "), link] if number else [link]
        paragraph += nodes.Text(".")
        return paragraph


def refuse_circles(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of statements whose proofs lean on each other in a circle."""
    if around := circle(leaning(env.statements)):
        logger.warning("proofs lean on each other in a circle: %s", " → ".join([*around, around[0]]))


def setup(app: Sphinx) -> dict[str, object]:
    """Connect what stands above."""
    app.setup_extension("_tools.statements")
    app.add_directive("leaning", LeaningDirective)
    app.add_node(leaning_graph)
    app.add_post_transform(DrawLeaning)
    app.connect("env-check-consistency", refuse_circles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
