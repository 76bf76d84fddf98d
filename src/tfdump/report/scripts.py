"""The scripts and the style sheets of a page, which are files of this package; dagre with its license."""

from importlib import resources

DAGRE = "dagre 3.1.3 with graphlib 4.0.6, from the npm packages @dagrejs/dagre and @dagrejs/graphlib"


def own_text(name: str) -> str:
    """Return the text of a file of this package."""
    return resources.files("tfdump.report").joinpath(name).read_text("utf-8").replace("\r\n", "\n")


def dagre_script() -> str:
    """Return the library that lays out the graph, behind its license, which every copy has to contain.

    The line that names a source map is left out: browsers look for that file when their tools for developers are open.
    """
    folder = "third_party/dagre/"
    lines = [line for line in own_text(f"{folder}dagre.min.js").splitlines() if not line.startswith(("//#", "/*!"))]
    return f"/*\n{DAGRE}\n\n{own_text(f'{folder}LICENSE')}*/\n" + "\n".join(lines) + "\n"


def graph_script() -> str:
    """Return the script that draws the graph: the layout, the elements, and what clicks and keys do."""
    return "".join(own_text(name) for name in ("graph_layout.js", "graph_drawing.js", "graph.js"))
