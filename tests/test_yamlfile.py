"""YAML as campaigns read it: 1.2 scalars, nothing clever, every line known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdl import yamlfile
from sdl.errors import ConfigError

SCALARS: dict[str, Any] = {
    "80": 80,
    "+7": 7,
    "-3": -3,
    "010": 10,
    "0o17": 15,
    "0x1F": 31,
    "1e3": 1000.0,
    "2E-3": 0.002,
    ".5": 0.5,
    "5.": 5.0,
    "-.5": -0.5,
    ".inf": math.inf,
    "-.INF": -math.inf,
    "true": True,
    "FALSE": False,
    "null": None,
    "~": None,
    "20:00": "20:00",
    "on": "on",
    "no": "no",
    "1_000": "1_000",
    "2%": "2%",
    "2026-11-23": "2026-11-23",
    "nan": "nan",
    "inf": "inf",
    "'80'": "80",
    '"true"': "true",
    "1.2.3": "1.2.3",
    "0b11": "0b11",
    "=": "=",
    "<<": "<<",
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items(), ids=list(SCALARS))
def test_a_scalar_is_what_yaml_1_2_says(text: str, value: Any) -> None:
    result = yamlfile.scalar(text)
    assert result == value
    assert type(result) is type(value)


def test_nan_is_read_as_a_number_so_that_a_model_that_wants_a_number_can_refuse_it() -> None:
    assert math.isnan(yamlfile.scalar(".nan"))


@pytest.mark.parametrize("text", ["9" * 5000, "0x" + "f" * 5000, str(2**63), "-" + "1" * 40])
def test_a_whole_number_too_large_to_be_meant_stays_text(text: str) -> None:
    assert yamlfile.scalar(text) == text


def test_nothing_at_all_is_null_in_a_set_and_an_error_in_a_file() -> None:
    assert yamlfile.scalar("  ") is None
    with pytest.raises(ConfigError, match="empty"):
        yamlfile.parse("# only a comment\n")


def test_sequences_become_tuples_and_every_key_keeps_its_line() -> None:
    tree = yamlfile.parse("a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n")
    assert tree.value == {"a": 1, "b": ("x", {"c": 2, "d": 3})}
    assert [tree.line(path) for path in ("a", "b", "b.0", "b.1", "b.1.d")] == [1, 2, 3, 4, 5]


def test_a_path_that_is_not_there_has_the_line_of_the_nearest_above_it() -> None:
    tree = yamlfile.parse("a: 1\nb:\n  c: 2\n")
    assert [tree.line(path) for path in ("b.c.d", "b.x", "x", "", "b.\u00b2", "b." + "1" * 5000)] == [3, 2, 1, 1, 2, 2]


def test_a_duplicate_key_is_told_with_both_lines_and_the_rest_is_still_read() -> None:
    tree = yamlfile.parse("a: 1\nb: {c: 1, c: 2}\na: 2\nd: 4\n")
    assert tree.value == {"a": 1, "b": {"c": 1}, "d": 4}
    assert [(p.line, p.path) for p in tree.problems] == [(2, "b.c"), (3, "a")]
    assert "first in line 1" in tree.problems[1].message


REFUSED = {
    "an anchor": ("a: &x 1\n", "anchors", 1),
    "an alias": ("a: 1\nb: *x\n", "anchors", 2),
    "a merge of an anchor": ("a: &x {b: 1}\nc:\n  <<: *x\n", "anchors", 1),
    "a tag": ("a: 1\nb: !!python/object:os.system ls\n", "tags", 2),
    "an own tag": ("a: !mine {b: 1}\n", "tags", 1),
    "a second document": ("a: 1\n---\nb: 2\n", "second document", 2),
    "depth": ("a:\n " + "[" * 40 + "]" * 40, "deeper", 2),
    "a tab": ("a:\n\tb: 1\n", "a tab", 2),
    "an open quote": ("a: 1\nb: 'x\n", "not YAML", 3),
    "an open bracket": ("a: [1,\n", "not YAML", 2),
    "a colon too many": ("a: 1\nb: c: d\n", "not YAML", 2),
    "a control character": ("a: 1\nb: \x07\n", "#x0007", 2),
    "half a character": ('a: 1\nb: "\\udc80"\n', "half a character", 2),
    "an unknown escape": ('a: "\\q"\n', "not YAML", 1),
    "an unknown directive version": ("%YAML 3.0\n---\na: 1\n", "not YAML", 1),
}


@pytest.mark.parametrize(("text", "words", "line"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_plain_yaml_is_refused_with_its_line(text: str, words: str, line: int) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        yamlfile.parse(text, "f.yaml")
    assert [(p.file, p.line) for p in caught.value.problems] == [("f.yaml", line)]


def test_a_bomb_of_aliases_is_refused_before_anything_is_built() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    with pytest.raises(ConfigError, match="anchors"):
        yamlfile.parse(text)


def test_a_file_beyond_the_limit_is_not_even_read(tmp_path: Path) -> None:
    file = tmp_path / "huge.yaml"
    with file.open("wb") as stream:
        stream.truncate(50_000_000)
    with pytest.raises(ConfigError, match="larger than 256 kB"):
        yamlfile.read(file)


def test_what_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("a: 1\nb: Gr\u00fc\u00dfe\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        yamlfile.read(file)
    assert caught.value.problems[0].line == 2


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert yamlfile.read(file).value == {"a": 1, "b": 2}


# Whatever a resolved campaign may hold comes back as it was: dump is what writes runs/…/campaign.yaml.
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_leaf = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False)
    | _text
    | st.sampled_from(
        [*SCALARS, "9" * 40, "2026-11-23T10:00:00Z", "a: b", "- a", "# a", "", " ", "\n", "\t", "&a", "*"]
    )
)
_tree = st.recursive(
    _leaf,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_text, _tree, min_size=1, max_size=5))
def test_what_is_dumped_is_read_back_to_the_same(tree: dict[str, Any]) -> None:
    result = yamlfile.parse(yamlfile.dump(tree))
    assert result.value == tree
    assert not result.problems
    assert repr(result.value) == repr(tree)  # 1 is not 1.0, and 0.0 not -0.0
