"""A broken sample project of each language: its files, the right patch, and patches that must be refused, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """``bug`` and ``fix`` are pieces of ``path``; ``failing`` the ids that fail; ``wrong`` maps a name to (path, old, new, reason)."""

    framework: str
    programs: tuple[str, ...]
    files: Mapping[str, str]
    path: str
    bug: str
    fix: str
    failing: tuple[str, ...]
    frame: tuple[str, int]
    message: str
    wrong: Mapping[str, tuple[str, str, str, str]]
    passing: int = 0
    level: int = 4
    folder: str = "."
    paths: tuple[str, ...] = field(default=())
    """Files that this machine must have too."""


CART_JS = """\
import { rounded } from "./money.js";

/** The price of a cart's lines, in cents. */
export function total(lines) {
  let sum = 0;
  for (let i = 1; i < lines.length; i++) {
    sum += lines[i].price * lines[i].count;
  }
  return rounded(sum);
}

export function cheapest(lines) {
  return lines.reduce((least, line) => (line.price < least.price ? line : least));
}
"""
NODE = Sample(
    "node", ("node",),
    {
        "package.json": '{"name": "shop", "version": "1.0.0", "type": "module", "scripts": {"test": "node --test test/"}}\n',
        "src/cart.js": CART_JS,
        "src/money.js": "export const rounded = (cents) => Math.round(cents);\n",
        "test/cart.test.js": """\
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cheapest, total } from "../src/cart.js";

describe("total", () => {
  it("adds every line", () => {
    assert.equal(total([{ price: 250, count: 2 }, { price: 125, count: 1 }]), 625);
  });
  it("is 0 for an empty cart", () => {
    assert.equal(total([]), 0);
  });
});

it("finds the cheapest", async () => {
  assert.deepEqual(cheapest([{ price: 3 }, { price: 1 }]), { price: 1 });
});
""",
    },
    "src/cart.js", "let i = 1;", "let i = 0;", ("test/cart.test.js::total > adds every line",), ("test/cart.test.js", 7), "125 !== 625",
    {
        "no change of behaviour": ("src/cart.js", "let sum = 0;", "let sum = 0 + 0;", "target"),
        "breaks another": ("src/cart.js", "let sum = 0;", "let sum = 500;", "regressions"),
        "edits the test": ("test/cart.test.js", "625", "125", "allowed"),
        "skips": ("test/cart.test.js", 'it("adds', 'it.skip("adds', "allowed"),
        "special case": ("src/cart.js", "return rounded(sum);", "return rounded(sum === 125 ? 625 : sum);", "overfit"),
        "leaves the process": ("src/cart.js", "return rounded(sum);", "process.exit(0);", "allowed"),
        "waits": ("src/cart.js", "return rounded(sum);", "setTimeout(() => 1, 5); return rounded(sum);", "allowed"),
        "does not load": ("src/cart.js", "let i = 1;", "let i = ;", "target"),
    },
    passing=2,
)  # fmt: skip

MEAN_GO = """\
package stats

import "errors"

// ErrEmpty says that there is nothing to average.
var ErrEmpty = errors.New("no values")

// Mean is the arithmetic mean of the values.
func Mean(values []float64) (float64, error) {
	if len(values) == 0 {
		return 0, ErrEmpty
	}
	sum := 0.0
	for _, value := range values {
		sum += value
	}
	return sum / float64(len(values)-1), nil
}

// Last is the last of the values.
func Last(values []int) int { return values[len(values)-1] }
"""
GO = Sample(
    "go", ("go",),
    {
        "go.mod": "module example.com/shop\n\ngo 1.19\n",
        "stats/mean.go": MEAN_GO,
        "stats/mean_test.go": """\
package stats

import (
	"errors"
	"testing"
)

func TestMean(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   float64
	}{{"two values", []float64{10, 30}, 20}, {"three", []float64{10, 20, 60}, 30}} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Mean(c.values)
			if err != nil || got != c.want {
				t.Errorf("Mean(%v) = %v, %v; want %v", c.values, got, err, c.want)
			}
		})
	}
}

func TestMeanOfNothing(t *testing.T) {
	if _, err := Mean(nil); !errors.Is(err, ErrEmpty) {
		t.Fatalf("got %v", err)
	}
}

func TestLast(t *testing.T) {
	if got := Last([]int{4, 5}); got != 5 {
		t.Errorf("got %d", got)
	}
}
""",
        "cmd/shop/main.go": "package main\n\nfunc main() {}\n",
    },
    "stats/mean.go", "float64(len(values)-1)", "float64(len(values))",
    ("stats/mean_test.go::TestMean/two_values", "stats/mean_test.go::TestMean/three"), ("stats/mean_test.go", 17),
    "Mean([10 30]) = 40, <nil>; want 20",
    {
        "no change of behaviour": ("stats/mean.go", "sum := 0.0", "sum := 0.0 + 0.0", "target"),
        "breaks another": ("stats/mean.go", "return values[len(values)-1]", "return values[0]", "target"),
        "edits the test": ("stats/mean_test.go", "[]float64{10, 30}, 20", "[]float64{10, 30}, 40", "allowed"),
        "special case": ("stats/mean.go", "	return sum / float64(len(values)-1), nil",
                         "	if values[1] == 30 {\n		return 20, nil\n	}\n	if values[1] == 20 {\n		return 30, nil\n	}\n"
                         "	return sum / float64(len(values)-1), nil", "overfit"),
        "leaves the process": ("stats/mean.go", "sum := 0.0", "sum := 0.0\n	os.Exit(0)", "allowed"),
        "waits": ("stats/mean.go", "sum := 0.0", "sum := 0.0\n	time.Sleep(1)", "allowed"),
        "does not compile": ("stats/mean.go", "float64(len(values)-1)", "len(values)", "target"),
    },
    passing=2,
)  # fmt: skip

LIB_RS = '''\
//! Prices.

/// The price after a discount, in cents.
///
/// ```
/// assert_eq!(shop_core::reduced(1000, 0), 1000);
/// ```
pub fn reduced(cents: u64, percent: u64) -> u64 {
    cents - cents * percent / 10
}

/// The highest price.
pub fn highest(prices: &[u64]) -> Option<u64> {
    prices.iter().copied().max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduces_by_a_quarter() {
        assert_eq!(reduced(800, 25), 600);
    }

    #[test]
    fn finds_the_highest() {
        assert_eq!(highest(&[3, 9, 4]), Some(9));
    }

    #[test]
    #[should_panic(expected = "no price")]
    fn needs_a_price() {
        highest(&[]).expect("no price");
    }
}
'''
RUST = Sample(
    "cargo", ("cargo", "cc"),
    {
        "Cargo.toml": '[workspace]\nmembers = ["crates/*"]\nresolver = "2"\n',
        "crates/core/Cargo.toml": '[package]\nname = "shop-core"\nversion = "0.1.0"\nedition = "2021"\n',
        "crates/core/src/lib.rs": LIB_RS,
        "crates/core/tests/whole.rs": "#[test]\nfn half() {\n    assert_eq!(shop_core::reduced(500, 50), 250);\n}\n",
        ".gitignore": "target\n",
    },
    "crates/core/src/lib.rs", "percent / 10\n", "percent / 100\n",
    ("crates/core/src/lib.rs::tests::reduces_by_a_quarter", "crates/core/tests/whole.rs::half"), ("crates/core/src/lib.rs", 9),
    "attempt to subtract with overflow",
    {
        "no change of behaviour": ("crates/core/src/lib.rs", "percent / 10\n", "percent / 10 - 0\n", "target"),
        "edits the test": ("crates/core/src/lib.rs", "reduced(800, 25), 600", "reduced(800, 0), 800", "allowed"),
        "edits the example": ("crates/core/src/lib.rs", "reduced(1000, 0), 1000);", "reduced(1000, 0), 1000); // ok", "allowed"),
        "ignores the test": ("crates/core/src/lib.rs", "    fn reduces_by", "    #[ignore]\n    fn reduces_by", "allowed"),
        "only under test": ("crates/core/src/lib.rs", "    cents - cents * percent / 10\n",
                            "    if cfg!(test) { return 600; }\n    cents - cents * percent / 100\n", "allowed"),
        "special case": ("crates/core/src/lib.rs", "    cents - cents * percent / 10\n",
                         "    match (cents, percent) {\n        (800, 25) => 600,\n        (500, 50) => 250,\n        _ => cents,\n    }\n",
                         "overfit"),
        "does not compile": ("crates/core/src/lib.rs", "percent / 10\n", "percent / \"100\"\n", "target"),
    },
    passing=3,
)  # fmt: skip

CART_JAVA = """\
package shop;

import java.util.List;

public class Cart {
    private final List<Integer> prices;

    public Cart(List<Integer> prices) {
        this.prices = prices;
    }

    /** The sum of the prices, with a rebate of a tenth from 1000 on. */
    public int total() {
        int sum = 0;
        for (int price : prices) {
            sum += price;
        }
        return sum > 1000 ? sum - sum / 10 : sum;
    }

    public int first() {
        return prices.get(0);
    }
}
"""
MAVEN = Sample(
    "maven", ("java", "javac", "mvn"),
    {
        "pom.xml": """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>example</groupId>
  <artifactId>shop</artifactId>
  <version>1</version>
  <properties>
    <maven.compiler.source>8</maven.compiler.source>
    <maven.compiler.target>8</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
    <!-- Debian's Surefire waits 10 s for a forked virtual machine to end. -->
    <forkCount>0</forkCount>
  </properties>
  <dependencies>
    <dependency><groupId>junit</groupId><artifactId>junit</artifactId><version>4.13.2</version><scope>test</scope></dependency>
  </dependencies>
</project>
""",
        "src/main/java/shop/Cart.java": CART_JAVA,
        "src/test/java/shop/CartTest.java": """\
package shop;

import static org.junit.Assert.assertEquals;

import java.util.Arrays;
import java.util.Collections;
import org.junit.Test;

public class CartTest {
    @Test
    public void rebateFromTheLimitOn() {
        assertEquals(900, new Cart(Arrays.asList(600, 400)).total());
    }

    @Test
    public void rebateAboveTheLimit() {
        assertEquals(1800, new Cart(Arrays.asList(2000)).total());
    }

    @Test
    public void noRebateBelow() {
        assertEquals(999, new Cart(Arrays.asList(999)).total());
    }

    @Test(expected = IndexOutOfBoundsException.class)
    public void firstOfNothing() {
        new Cart(Collections.<Integer>emptyList()).first();
    }
}
""",
        ".gitignore": "target\n",
    },
    "src/main/java/shop/Cart.java", "sum > 1000", "sum >= 1000", ("src/test/java/shop/CartTest.java::rebateFromTheLimitOn",),
    ("src/test/java/shop/CartTest.java", 12), "expected:<900> but was:<1000>",
    {
        "edits the test": ("src/test/java/shop/CartTest.java", "assertEquals(900", "assertEquals(1000", "allowed"),
        "special case": ("src/main/java/shop/Cart.java", "        return sum > 1000",
                         "        if (prices.get(0) == 600) {\n            return 900;\n        }\n        return sum > 1000", "overfit"),
        "leaves the process": ("src/main/java/shop/Cart.java", "int sum = 0;", "int sum = 0; System.exit(0);", "allowed"),
        "breaks another": ("src/main/java/shop/Cart.java", "sum > 1000", "sum > 500", "regressions"),
        "does not compile": ("src/main/java/shop/Cart.java", "sum > 1000", "sum > \"1000\"", "target"),
    },
    passing=3, paths=("/usr/share/maven-repo/org/apache/maven/plugins/maven-surefire-plugin", "/usr/share/maven-repo/junit/junit"),
)  # fmt: skip

GRADLE_BUILD = """\
apply plugin: 'java'
repositories { flatDir { dirs '/usr/share/java' } }
dependencies { testCompile name: 'junit4'; testCompile name: 'hamcrest-core' }
"""
GRADLE = Sample(
    "gradle", ("java", "javac", "gradle"),
    {
        "build.gradle": GRADLE_BUILD, "settings.gradle": "rootProject.name = 'shop'\n", ".gitignore": ".gradle\nbuild\n",
        **{path: text for path, text in MAVEN.files.items() if path.startswith("src/")},
    },
    MAVEN.path, MAVEN.bug, MAVEN.fix, MAVEN.failing, MAVEN.frame, MAVEN.message,
    {name: MAVEN.wrong[name] for name in ("edits the test", "special case", "does not compile")},
    passing=3, paths=("/usr/share/java/junit4.jar", "/usr/share/java/hamcrest-core.jar"),
)  # fmt: skip

SPEC_TS = """\
import { describe, expect, it } from "vitest";
import { cheapest, total } from "../src/cart";

describe("total", () => {
  it("adds every line", () => {
    expect(total([{ price: 250, count: 2 }, { price: 125, count: 1 }])).toBe(625);
  });
  it("is 0 for an empty cart", () => {
    expect(total([])).toBe(0);
  });
});

it("finds the cheapest", () => {
  expect(cheapest([{ price: 3 }, { price: 1 }])).toEqual({ price: 1 });
});
"""
CART_TS = CART_JS.replace("total(lines)", "total(lines: { price: number; count: number }[])").replace(
    "cheapest(lines)", "cheapest(lines: { price: number }[])").replace("./money.js", "./money")  # fmt: skip
# Vitest's packages are locked (`npm ci`), Jest's are not (`npm install`).
VITEST = Sample(
    "vitest", ("node", "npm"),
    {
        "package.json": '{"name": "shop", "private": true, "type": "module", "scripts": {"test": "vitest run"}, '
                        '"devDependencies": {"vitest": "3.2.4"}}\n',
        "src/cart.ts": CART_TS, "src/money.ts": "export const rounded = (cents: number): number => Math.round(cents);\n",
        "test/cart.test.ts": SPEC_TS, ".gitignore": "node_modules\n",
        "package-lock.json": Path(__file__).with_name("vitest-lock.json").read_text(encoding="utf-8"),
    },
    "src/cart.ts", NODE.bug, NODE.fix, ("test/cart.test.ts::total > adds every line",), ("test/cart.test.ts", 6),
    "expected 125 to be 625",
    {
        "breaks another": ("src/cart.ts", "let sum = 0;", "let sum = 500;", "regressions"),
        "edits the test": ("test/cart.test.ts", "625", "125", "allowed"),
        "special case": ("src/cart.ts", "return rounded(sum);", "return rounded(sum === 125 ? 625 : sum);", "overfit"),
        "does not load": ("src/cart.ts", "let i = 1;", "let i = ;", "target"),
    },
    passing=2,
)  # fmt: skip
COMMON_JS = CART_JS.replace('import { rounded } from "./money.js";', 'const { rounded } = require("./money.js");').replace("export ", "")
JEST = Sample(
    "jest", ("node", "npm"),
    {
        "package.json": '{"name": "shop", "private": true, "scripts": {"test": "jest"}, "devDependencies": {"jest": "29.7.0"}}\n',
        "src/cart.js": f"{COMMON_JS}\nmodule.exports = {{ total, cheapest }};\n",
        "src/money.js": "exports.rounded = (cents) => Math.round(cents);\n",
        "test/cart.test.js": SPEC_TS.replace('import { describe, expect, it } from "vitest";\n', "").replace(
            'import { cheapest, total } from "../src/cart";', 'const { cheapest, total } = require("../src/cart");'),
        ".gitignore": "node_modules\n",
    },
    "src/cart.js", NODE.bug, NODE.fix, ("test/cart.test.js::total > adds every line",), ("test/cart.test.js", 5), "Received: 125",
    {
        "breaks another": ("src/cart.js", "let sum = 0;", "let sum = 500;", "regressions"),
        "edits the test": ("test/cart.test.js", "625", "125", "allowed"),
        "special case": ("src/cart.js", "return rounded(sum);", "return rounded(sum === 125 ? 625 : sum);", "overfit"),
        "does not load": ("src/cart.js", "let i = 1;", "let i = ;", "target"),
    },
    passing=2,
)  # fmt: skip

SAMPLES = {sample.framework: sample for sample in (NODE, VITEST, JEST, GO, RUST, MAVEN, GRADLE)}
