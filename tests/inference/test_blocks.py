"""Functions, types and constants of many languages by indentation and words alone; texts shortened without a line that could be quoted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.blocks import Block, definitions, function_at, shortened, split_lines

GO = """\
package cart

const limit = 3

// Total adds.
func (c *Cart) Total(items []Item) (int, error) {
\tsum := 0
\tfor _, i := range items {
\t\tsum += i.Price
\t}
\treturn sum, nil
}

type Cart struct {
\tItems []Item
}
"""
C_SHARP = """\
namespace A
{
    public class Cart
    {
        public int Total(
            List<Item> items)
        {
            foreach (var i in items)
            {
                sum += i.Price;
            }
            return sum;
        }
    }
}
"""
C = """\
#define MAX 3
static int
total(struct item *items, int n)
{
    int s = 0;
#ifdef FOO
    s = 1;
#endif
    if (n < 0)
        goto out;
out:
    return s;
}
int other(void) { return 1; }
"""
RUBY = """\
class Cart
  def total(items)
    items.sum do |i|
      i.price
    end
  end

  def self.make
    new
  end
end
"""
RUST = """\
pub struct Cart { items: Vec<u32> }

impl Cart {
    #[inline]
    pub fn total(
        &self,
    ) -> u32 {
        self.items.iter().map(|i| {
            i + 1
        }).sum()
    }
}
"""
TYPESCRIPT = """\
export const total = async (items: Item[]): Promise<number> => {
  return items.map((i) => {
    return i.price;
  });
};

export class Cart extends Base {
  static async load<T>(id: string): Promise<T> {
    fetch(id, () => {
      done();
    });
  }
}
"""
JAVA = """\
public class Cart {
    private static final int MAX = 3;

    @Override
    public int total(List<Item> items) throws Exception {
        if (items == null) {
            return 0;
        } else {
            return compute(items);
        }
    }
}
"""
PYTHON = '''\
LIMIT = 3


@cached
def total(
    items,
):
    """All."""
    return sum(items)


class Cart:
    def clear(self):
        pass
'''
JAVASCRIPT_TEXT = """\
function page(name) {
  const text = `
<h1>
${name}
`;
  return text;
}

function next() {
}
"""


@pytest.mark.parametrize(("source", "expected"), [
    (GO, [Block(3, 3, "limit", "constant"), Block(5, 12, "Total"), Block(14, 16, "Cart", "type")]),
    (C_SHARP, [Block(3, 14, "Cart", "type"), Block(5, 13, "Total")]),
    (C, [Block(1, 1, "MAX", "constant"), Block(3, 13, "total"), Block(14, 14, "other")]),
    (RUBY, [Block(1, 11, "Cart", "type"), Block(2, 6, "total"), Block(8, 10, "make")]),
    (RUST, [Block(1, 1, "Cart", "type"), Block(4, 11, "total")]),
    (TYPESCRIPT, [Block(1, 5, "total"), Block(7, 13, "Cart", "type"), Block(8, 12, "load")]),
    (JAVA, [Block(1, 12, "Cart", "type"), Block(4, 11, "total")]),
    (PYTHON, [Block(1, 1, "LIMIT", "constant"), Block(4, 9, "total"), Block(12, 14, "Cart", "type"), Block(13, 14, "clear")]),
    (JAVASCRIPT_TEXT, [Block(1, 7, "page"), Block(9, 10, "next")]),
], ids=["Go", "C#", "C", "Ruby", "Rust", "TypeScript", "Java", "Python", "text at the left margin"])  # fmt: skip
def test_definitions_are_found_with_their_borders(source: str, expected: list[Block]) -> None:
    assert list(definitions(split_lines(source))) == expected


@pytest.mark.parametrize(
    "line", ["describe('a', () => {", "if (a) {", "return compute(", "// function total() {", "total(1);", "while (x) {"])  # fmt: skip
def test_what_only_looks_like_a_definition_is_none(line: str) -> None:
    assert definitions([line, "  x", "}"]) == ()


def test_a_line_in_a_callback_belongs_to_the_named_function_around_it() -> None:
    lines = split_lines(TYPESCRIPT)
    assert function_at(lines, 10, definitions(lines)).name == "load"


def test_a_line_outside_functions_has_its_neighbourhood() -> None:
    assert function_at(["x"] * 50, 25, ()) == Block(15, 35)


@given(st.text(alphabet=st.sampled_from("ab{}()[]:;=#/* \t\n\r\"'`⋯"), max_size=300), st.integers(-3, 40))
def test_blocks_lie_inside_their_file_whatever_it_holds(text: str, line: int) -> None:
    lines = split_lines(text)
    defined = definitions(lines)
    for block in [*defined, *([function_at(lines, line, defined)] if lines else [])]:
        assert 1 <= block.first <= block.last <= len(lines)


@given(st.lists(st.text(alphabet="ab⋯ lines", max_size=12), min_size=1, max_size=40), st.integers(1, 200), st.sets(st.integers(1, 40)))
def test_a_shortened_text_fits_and_its_own_words_are_in_no_file(lines: list[str], most: int, important: set[int]) -> None:
    source = "\n".join(lines)
    text = shortened(lines, 1, important, lambda t: len(t) <= most, source)
    if text is not None:
        assert len(text) <= most
        assert not any(re.search(r"⋯ lines \d", line) and line in source for line in split_lines(text) if line not in lines)


def test_the_numbers_of_what_is_left_out_are_those_of_the_file() -> None:
    text = shortened([str(n) for n in range(11, 31)], 11, {20}, lambda t: t.count("\n") < 8, "")
    assert text is not None
    given = [int(n) for n in re.findall(r"^\d+$", text, re.M)]
    hidden = [n for a, b in re.findall(r"lines (\d+)-(\d+) are", text) for n in range(int(a), int(b) + 1)]
    assert sorted(given + hidden) == list(range(11, 31))
