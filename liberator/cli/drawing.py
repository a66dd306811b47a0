"""A flow as text that other programs draw (Mermaid, Graphviz), or as a tree for people.

Enters: nodes and edges. Leaves: text. Called by `graph`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from liberator.config.flow import Flow, Kind, Node

_MERMAID: Mapping[Kind, tuple[str, str]] = {
    "database": ("[(", ")]"),
    "source": ("[[", "]]"),
    "topic": ("[/", "/]"),
    "function": ("[", "]"),
    "start": ("([", "])"),
    "application": ("{{", "}}"),
}
_DOT: Mapping[Kind, str] = {
    "database": "cylinder",
    "source": "box3d",
    "topic": "parallelogram",
    "function": "box",
    "start": "oval",
    "application": "hexagon",
}


def mermaid(flow: Flow) -> Iterator[str]:
    """A flowchart; contexts are subgraphs."""
    ids = _ids(flow)
    yield "flowchart LR"
    for number, (context, nodes) in enumerate(_by_context(flow).items()):
        indent = "    " if context is None else "        "
        if context is not None:
            yield f'    subgraph c{number}["{_in_mermaid(context)}"]'
        for node in nodes:
            before, after = _MERMAID[node.kind]
            yield f'{indent}{ids[node]}{before}"{_in_mermaid(node.label)}"{after}'
        if context is not None:
            yield "    end"
    for edge in flow.edges:
        arrow = f'-. "{_in_mermaid(edge.label)}" .->' if edge.label else "-->"
        yield f"    {ids[edge.tail]} {arrow} {ids[edge.head]}"


def dot(flow: Flow) -> Iterator[str]:
    """For Graphviz; contexts are clusters."""
    ids = _ids(flow)
    yield "digraph liberator {"
    yield "    rankdir=LR"
    for number, (context, nodes) in enumerate(_by_context(flow).items()):
        if context is not None:
            yield f"    subgraph cluster_{number} {{ label={_in_dot(context)}"
        for node in nodes:
            yield f"    {ids[node]} [shape={_DOT[node.kind]}, label={_in_dot(node.label)}]"
        if context is not None:
            yield "    }"
    for edge in flow.edges:
        more = f" [style=dashed, label={_in_dot(edge.label)}]" if edge.label else ""
        yield f"    {ids[edge.tail]} -> {ids[edge.head]}{more}"
    yield "}"


def tree(flow: Flow) -> Iterator[str]:
    """From what nothing flows into, down; what stands above already is not told again."""
    following: dict[Node, list[tuple[str, Node]]] = {node: [] for node in flow.nodes}
    for edge in flow.edges:
        following[edge.tail].append((edge.label, edge.head))
    heads = {edge.head for edge in flow.edges}
    told: set[Node] = set()

    def below(node: Node, indent: str, label: str) -> Iterator[str]:
        why = f"({label}) " if label else ""
        context = f" [{node.context}]" if node.context else ""
        yield f"{indent}{why}{node.kind} {node.label}{context}{' (see above)' if node in told else ''}"
        if node not in told:
            told.add(node)
            for why, next_one in following[node]:
                yield from below(next_one, f"{indent}  ", why)

    for node in [*(node for node in flow.nodes if node not in heads), *flow.nodes]:
        if node not in told:
            yield from below(node, "", "")


FORMATS: Mapping[str, Callable[[Flow], Iterator[str]]] = {"mermaid": mermaid, "dot": dot, "text": tree}


def _ids(flow: Flow) -> dict[Node, str]:
    return {node: f"n{number}" for number, node in enumerate(flow.nodes)}


def _by_context(flow: Flow) -> dict[str | None, list[Node]]:
    found: dict[str | None, list[Node]] = {None: []}
    for node in flow.nodes:
        found.setdefault(node.context, []).append(node)
    return found


def _in_mermaid(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _in_dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
