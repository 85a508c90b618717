"""The formats of drawings: SVG, Mermaid, DOT, JSON, and text that is awkward in each."""

from __future__ import annotations

import json
import re
import tempfile
import xml.etree.ElementTree as ET

import pytest

from asyncgraph import delayed, from_graph, resource, when
from asyncgraph.observe.drawing import html_of, svg_of
from tests.lazy.functions import add, inc
from tests.observe.graphs import AWKWARD, SVG, fills_of, mission, random_boxes

ELEMENTS = {"svg", "title", "g", "path", "rect", "text"}


@pytest.mark.parametrize("kind", AWKWARD)
@pytest.mark.parametrize("format", ["svg", "html", "dot", "mermaid", "json"])
def test_awkward_text_is_harmless(kind, format):
    """Whatever keys, values, arguments and functions are called, the format is kept, and nothing is run."""
    text = AWKWARD[kind]
    shown = type("Shown", (), {"__repr__": lambda self: text})
    node = delayed(dict, name=text)(**{text: delayed(shown()), "other": delayed(shown())})
    picture = node.visualize(format=format)
    picture.encode()
    if format == "svg":
        root = ET.fromstring(picture)
        assert {each.tag.removeprefix(SVG) for each in root.iter()} <= {
            "svg",
            "title",
            "g",
            "path",
            "rect",
            "text",
        }
        assert len(fills_of(picture)) in {1, 2, 3}
    elif format == "html":
        assert picture.count("<script") == picture.count("</script") == 1
        assert "alert(1)</script>" not in picture
    elif format == "dot":
        string = r'"(?:[^"\\\n]|\\.)*"'
        attributes = rf" \[\w+={string}(, \w+={string})*\]"
        for line in picture.split("\n")[4:-1]:
            assert re.fullmatch(rf"  {string}( -> {string})?({attributes})?", line)
    elif format == "mermaid":
        label = r'"[^"<>&`*~$\\\n]*"'
        for line in picture.split("\n")[1:]:
            assert re.fullmatch(rf"    n\d+[\[(]{label}[\])]|    n\d+ -->(\|{label}\|)? n\d+", line)
    else:
        assert len(json.loads(picture)["nodes"]) == 3


def test_mermaid():
    """Square for data, which shows its value; round for calls, which show their keys; an arrow an edge."""
    graph = {"x": 1, "y": (inc, "x"), "z": (add, "y", "x")}
    assert from_graph(graph, "z").visualize(format="mermaid") == (
        'flowchart BT\n    n0["1"]\n    n1("y")\n    n2("z")\n    n0 --> n1\n'
        '    n1 -->|"a"| n2\n    n0 -->|"b"| n2'
    )


def test_mermaid_of_choices_and_resources():
    """A hexagon and a cylinder; the sides are dotted."""
    x = resource(tempfile.TemporaryDirectory)
    lines = when(inc(x), 1, 2).visualize(format="mermaid").split("\n")
    assert re.fullmatch(r'    n0\[\("TemporaryDirectory-\d+"\)\]', lines[1])
    assert re.fullmatch(r'    n4\{\{"when-\d+"\}\}', lines[5])
    assert lines[-3:] == ['    n1 -->|"if"| n4', '    n2 -.->|"then"| n4', '    n3 -.->|"else"| n4']


def test_mermaid_keeps_underscores_within_words():
    """Only where Markdown would take them for emphasis are they entities."""
    line = delayed(max, name="read_all __init__ _x")(1).visualize(format="mermaid").split("\n")[1]
    assert line.startswith('    n0("read_all #95;#95;init#95;#95; #95;x-')


def test_mermaid_labels_show_the_text():
    """What is special is written as an entity, and nothing else is changed."""
    for text in (
        AWKWARD[kind] for kind in ("quote", "backslash", "brackets", "entity", "markdown", "unicode")
    ):
        line = delayed(max, name=text)(1).visualize(format="mermaid").split("\n")[1]
        shown = re.sub(r"#(\d+);", lambda match: chr(int(match[1])), line)
        assert shown.startswith(f'    n0("{text}'[:20])


def test_dot():
    """The same as a digraph: boxes and ellipses, by their keys."""
    lines = from_graph({"x": 1, "y": (inc, "x")}, "y").visualize(format="dot").split("\n")
    assert lines[:2] == ["digraph {", "  rankdir=BT"]
    assert lines[4].startswith('  "x" [label="1", shape="box", fillcolor="#')
    assert lines[5].startswith('  "y" [label="y", shape="ellipse", fillcolor="#')
    assert lines[6:] == ['  "x" -> "y"', "}"]


def test_dot_of_groups():
    """Several nodes at once have a second outline, and a name that is no key."""
    graph = {"group 0": (sum, [f"x{number}" for number in range(200)])}
    text = from_graph(graph | {f"x{number}": (inc, number) for number in range(200)}, "group 0").visualize(
        format="dot"
    )
    names = re.findall(r'^  "([^"]+)" \[', text, re.MULTILINE)
    assert names == ["group 0'", "group 0"]
    assert text.count('peripheries="2"') == 1


def test_json():
    """What is drawn, as data."""
    found = json.loads(mission(200).visualize(format="json"))
    assert found["boxes"] == 602
    assert [node["count"] for node in found["nodes"]] == [200, 200, 200, 1, 1]
    assert found["nodes"][1]["name"] == "parse"
    assert found["nodes"][1]["executor"] == "process"
    assert found["edges"][0] == {"from": 0, "to": 1, "argument": "", "count": 200}


def test_ids_are_unique():
    """Nodes with one hand-written key are drawn apart."""
    parts = [from_graph({"x": number}, "x") for number in range(3)]
    node = delayed(sum)(parts)
    assert len(set(re.findall(r"(n\d+)[\[(]", node.visualize(format="mermaid")))) == 4
    assert re.findall(r'"(x\S*)" \[', node.visualize(format="dot")) == ["x", "x~2", "x~3"]


def test_svg_has_no_scripts_styles_or_references():
    """Presentation attributes only, so that it can be put anywhere."""
    root = ET.fromstring(mission(3).visualize())
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in ELEMENTS
        assert not {"style", "class", "href"} & set(element.attrib)
        assert not [name for name in element.attrib if name.startswith("on")]


def test_ids_of_two_pictures_differ():
    """So that they can be in one page; the same picture has the same."""
    graph = {"x": 1, "y": (inc, "x")}
    pictures = [
        from_graph(graph, "y").visualize(),
        from_graph({**graph, "x": 2}, "y").visualize(),
        from_graph(graph, "x").visualize(),
    ]
    ids = [set(re.findall(r'\bid="([^"]+)"', picture)) for picture in pictures]
    assert all(ids)
    assert not ids[0] & ids[1]
    assert not ids[0] & ids[2]
    for one, picture in zip(ids, pictures, strict=True):
        assert len(one) == len(re.findall(r'\bid="', picture))


@pytest.mark.parametrize("seed", range(4))
def test_drawing_twice_gives_the_same(seed):
    """The picture depends on the graph alone, not on where things are in memory or how they are hashed."""
    for collapse in (True, False):
        one, other = (svg_of(random_boxes(seed, 200), collapse=collapse) for _ in range(2))
        assert one == other
    assert html_of(random_boxes(seed, 20)) == html_of(random_boxes(seed, 20))


def test_a_graph_of_one_node_is_drawn():
    """It is one shape."""
    for format in ("svg", "html", "dot", "mermaid", "json"):
        assert "None" in from_graph({"x": None}, "x").visualize(format=format)


def test_no_boxes_are_an_empty_picture():
    """As of a run that has not been planned yet."""
    assert fills_of(svg_of([])) == {}
