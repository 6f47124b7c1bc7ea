"""Records the logs below ``tests/fixtures/logs`` whose names begin with a language's tool: ``python -m tests.languages.record [NAME...]``;
and, with ``reports [FRAMEWORK...]``, what the tools report inside the sandbox, below ``tests/fixtures/reports``.

The tools really run, over small shops with planted mistakes that stand below, in a folder named as GitHub's runners name theirs; the frame
around their output (time stamps, step marks) follows GitHub's log format. JavaScript's packages come from the npm registry.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.bubblewrap import BubblewrapRunner
from sandbox.settings import SandboxSettings
from sandbox.testing import run_tests
from tests.languages.conftest import open_project
from tests.languages.samples import GO, GRADLE_BUILD, MAVEN, NODE, RUST, SAMPLES, Sample

ROOT = Path("/home/runner/work/shop/shop")
REPORTS = Path(__file__).parents[1] / "fixtures" / "reports"
LOGS = Path(__file__).parents[1] / "fixtures" / "logs"


@dataclass(frozen=True)
class Recording:
    files: Mapping[str, str]
    command: str
    before: str = "true"


RACE_GO = """\
package store

import (
	"sync"
	"testing"
)

func TestCount(t *testing.T) {
	t.Run("one", func(t *testing.T) { Count(1) })
	t.Run("many at a time", func(t *testing.T) {
		if got := Count(8); got != 8 {
			t.Logf("got %d", got)
		}
	})
}

func TestOrder(t *testing.T) {
	t.Parallel()
	if got := Order([]string{"b", "a"}); got[0] != "a" {
		t.Fatalf("Order put %q first, want %q", got[0], "a")
	}
}

func TestSkipped(t *testing.T) { t.Skip("needs a network") }

var _ sync.Mutex
"""
COUNT_GO = """\
package store

import "sync"

// Count counts to n, each step in a goroutine of its own.
func Count(n int) int {
	total := 0
	var wait sync.WaitGroup
	for i := 0; i < n; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			total++
		}()
	}
	wait.Wait()
	return total
}

// Order sorts the names.
func Order(names []string) []string { return names }
"""
PANIC_GO = """\
package cart

import "testing"

func TestFirst(t *testing.T) {
	if got := First([]int{3}); got != 3 {
		t.Errorf("got %d", got)
	}
}

func TestFirstOfNothing(t *testing.T) {
	First(nil)
}

func TestNeverReached(t *testing.T) {}
"""
GO_SHOP = {
    **GO.files,
    "cart/cart.go": "package cart\n\n// First is the first of the prices.\nfunc First(prices []int) int {\n\treturn prices[0]\n}\n",
    "cart/cart_test.go": PANIC_GO,
    "money/money.go": "package money\n\n// Cents are a hundredth.\nfunc Cents(whole int) int { return whole * 100 }\n",
    "money/money_test.go": 'package money\n\nimport (\n\t"fmt"\n\t"testing"\n)\n\nfunc TestCents(t *testing.T) {}\n\n'
                           "func ExampleCents() {\n\tfmt.Println(Cents(2))\n\t// Output: 20\n}\n",
    "paths/paths.go": "package paths\n",
    "paths/paths_test.go": 'package paths\n\nimport "testing"\n\nfunc TestPaths(t *testing.T) {}\n',
}  # fmt: skip
GO_BROKEN = {
    **GO.files,
    "cart/cart.go": 'package cart\n\nfunc First(prices []int) int {\n\treturn "none"\n}\n',
    "cart/cart_test.go": 'package cart\n\nimport "testing"\n\nfunc TestFirst(t *testing.T) { First(nil) }\n',
    "vetted/vetted.go": "package vetted\n",
    "vetted/vetted_test.go": 'package vetted\n\nimport "testing"\n\nfunc TestVetted(t *testing.T) { t.Errorf("%d is wrong", "x") }\n',
}
RUST_SHOP = {
    **RUST.files,
    "crates/core/src/lib.rs": RUST.files["crates/core/src/lib.rs"].replace("reduced(1000, 0), 1000", "reduced(1000, 10), 900"),
    "crates/app/Cargo.toml": '[package]\nname = "shop-app"\nversion = "0.1.0"\nedition = "2021"\n\n'
                             '[dependencies]\nshop-core = { path = "../core" }\n',
    "crates/app/src/main.rs": """\
mod args;

fn main() {
    println!("{}", args::parsed("10"));
}
""",
    "crates/app/src/args.rs": """\
pub fn parsed(text: &str) -> u64 {
    text.parse().unwrap()
}

#[cfg(test)]
mod tests {
    use super::parsed;

    #[test]
    fn reads_a_number() {
        assert_eq!(parsed("12"), 12);
    }

    #[test]
    fn takes_nothing_for_zero() {
        println!("about to read");
        assert_eq!(parsed(""), 0);
    }

    #[test]
    fn tells_what_is_wrong() -> Result<(), String> {
        Err(format!("no price in {:?}", "x"))
    }

    #[test]
    #[ignore = "slow"]
    fn waits() {}
}
""",
}  # fmt: skip
RUST_BROKEN = {
    **RUST.files,
    "crates/core/src/lib.rs": RUST.files["crates/core/src/lib.rs"].replace("percent / 10\n", 'percent / "10"\n').replace(
        "prices.iter().copied().max()", "prices.iter().max()"),
}  # fmt: skip
CART_TEST_JAVA = """\
package shop.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.fail;

import org.junit.Ignore;
import org.junit.Test;

public class CartTest {
    @Test
    public void addsPrices() {
        assertEquals("sum of the prices", 6, new Cart(1, 2, 3).total());
    }

    @Test
    public void firstOfNothing() {
        assertEquals(0, new Cart().first());
    }

    @Test
    public void wrapped() {
        try {
            new Cart().first();
        } catch (RuntimeException cause) {
            throw new IllegalStateException("no first price", cause);
        }
    }

    @Test
    @Ignore("slow")
    public void later() {
        fail();
    }

    @Test
    public void isFine() {
    }
}
"""
PARENT = "<parent><groupId>example</groupId><artifactId>shop</artifactId><version>1</version></parent>"
MODULE = ('<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>{parent}<artifactId>{name}</artifactId>'
          "</project>\n")  # fmt: skip
MAVEN_SHOP = {
    "pom.xml": MAVEN.files["pom.xml"].replace("    <forkCount>0</forkCount>\n", "").replace("<version>1</version>\n  <properties>",
                                              "<version>1</version>\n  <packaging>pom</packaging>\n"
                                              "  <modules><module>money</module><module>core</module></modules>\n  <properties>"),
    "money/pom.xml": MODULE.format(parent=PARENT, name="money"),
    "money/src/main/java/shop/money/Money.java": "package shop.money;\n\npublic class Money {\n    public static int cents(int whole) {\n"
                                                 "        return whole * 10;\n    }\n}\n",
    "money/src/test/java/shop/money/MoneyTest.java": "package shop.money;\n\nimport static org.junit.Assert.assertEquals;\n\n"
        "import org.junit.Test;\n\npublic class MoneyTest {\n    @Test\n    public void hundredth() {\n"
        "        assertEquals(200, Money.cents(2));\n    }\n}\n",
    "core/pom.xml": MODULE.format(parent=PARENT, name="core"),
    "core/src/main/java/shop/core/Cart.java": "package shop.core;\n\npublic class Cart {\n    private final int[] prices;\n\n"
        "    public Cart(int... prices) {\n        this.prices = prices;\n    }\n\n    public int total() {\n        int sum = 0;\n"
        "        for (int i = 1; i < prices.length; i++) {\n            sum += prices[i];\n        }\n        return sum;\n    }\n\n"
        "    public int first() {\n        return prices[0];\n    }\n}\n",
    "core/src/test/java/shop/core/CartTest.java": CART_TEST_JAVA,
}  # fmt: skip
MAVEN_BROKEN = {
    **MAVEN_SHOP,
    "money/src/main/java/shop/money/Money.java": "package shop.money;\n\npublic class Money {\n    public static int cents(int whole) {\n"
                                                 '        return "" + whole;\n    }\n}\n',
}  # fmt: skip
NODE_SHOP = {
    **NODE.files,
    "test/price.test.js": """\
import assert from "node:assert";
import test from "node:test";

test("prices", async (t) => {
  await t.test("are numbers", () => {
    const price = undefined;
    assert.deepStrictEqual({ price: price.value }, { price: 3 });
  });
  await t.test("compare", () => {
    assert.deepStrictEqual({ a: [1, 2], b: "x" }, { a: [1, 3], b: "x" });
  });
});
test.skip("later", () => {});
test.todo("some day");
""",
    "test/broken.test.js": 'import { gone } from "../src/gone.js";\n',
}
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
  describe("of a wrong cart", () => {
    it("throws", () => {
      expect(total(null)).toBe(0);
    });
  });
});

it("finds the cheapest", () => {
  expect(cheapest([{ price: 3 }, { price: 1 }])).toEqual({ price: 2, name: "x" });
});
it.skip("later", () => {});
"""
VITEST_SHOP = {
    "package.json": '{"name": "shop", "private": true, "type": "module", "scripts": {"test": "vitest run"}, '
                    '"devDependencies": {"vitest": "3.2.4"}}\n',
    "src/cart.js": NODE.files["src/cart.js"], "src/money.js": NODE.files["src/money.js"], "test/cart.test.ts": SPEC_TS,
    "test/broken.test.ts": 'import { gone } from "../src/gone";\n\ngone();\n',
}  # fmt: skip
COMMON_JS = NODE.files["src/cart.js"].replace(
    'import { rounded } from "./money.js";', 'const { rounded } = require("./money.js");').replace("export ", "")
COMMON_JS += "\nmodule.exports = { total, cheapest };\n"
JEST_SHOP = {
    "package.json": '{"name": "shop", "private": true, "scripts": {"test": "jest"}, "devDependencies": {"jest": "29.7.0"}}\n',
    "src/cart.js": COMMON_JS, "src/money.js": "exports.rounded = (cents) => Math.round(cents);\n",
    "test/cart.test.js": SPEC_TS.replace('import { describe, expect, it } from "vitest";\n', "").replace(
        'import { cheapest, total } from "../src/cart";', 'const { cheapest, total } = require("../src/cart");'),
    "test/broken.test.js": "const { gone } = require('../src/gone');\n\ntest('never', () => gone());\n",
}  # fmt: skip
GRADLE_SHOP = {
    **{path: text for path, text in MAVEN_SHOP.items() if "/src/" in path},
    "settings.gradle": "rootProject.name = 'shop'\ninclude 'money', 'core'\n",
    "build.gradle": "subprojects {\n" + "".join(f"    {line}\n" for line in GRADLE_BUILD.splitlines()) + "}\n",
}
GRADLE_BROKEN = {
    **GRADLE_SHOP, "money/src/main/java/shop/money/Money.java": MAVEN_BROKEN["money/src/main/java/shop/money/Money.java"],
}  # fmt: skip
GRADLE = "GRADLE_USER_HOME=/tmp/gradle-home gradle --offline --no-daemon --console=plain"
NPM = "npm install --no-audit --no-fund --silent"
MVN = "mvn -B -o -s settings.xml"
DEBIAN = {"settings.xml": "<settings><localRepository>/usr/share/maven-repo</localRepository></settings>\n"}
RECORDINGS = {
    "go_test": Recording(GO_SHOP, "go test ./..."),
    "go_race": Recording(
        {"go.mod": GO.files["go.mod"], "store/store.go": COUNT_GO, "store/store_test.go": RACE_GO}, "go test -v -race ./..."),
    "go_build": Recording(GO_BROKEN, "go test ./..."),
    "cargo_test": Recording(RUST_SHOP, "cargo test --workspace --no-fail-fast", "cargo build -q"),
    "cargo_color": Recording(RUST_SHOP, "CARGO_TERM_COLOR=always RUST_BACKTRACE=1 cargo test --workspace --no-fail-fast -- --color always"),
    "cargo_build": Recording(RUST_BROKEN, "cargo test --workspace"),
    "maven_test": Recording({**MAVEN_SHOP, **DEBIAN}, f"{MVN} -fae test"),
    "maven_color": Recording({**MAVEN_SHOP, **DEBIAN}, f"{MVN} -fae -Dstyle.color=always -DtrimStackTrace=false test"),
    "maven_build": Recording({**MAVEN_BROKEN, **DEBIAN}, f"{MVN} test"),
    "gradle_test": Recording(GRADLE_SHOP, f"{GRADLE} --continue test"),
    "gradle_full": Recording(
        {**GRADLE_SHOP, "core/build.gradle": "test { testLogging { exceptionFormat 'full' } }\n"}, f"{GRADLE} --continue test"),
    "gradle_build": Recording(GRADLE_BROKEN, f"{GRADLE} --continue test"),
    "node_tap": Recording(NODE_SHOP, "node --test test/"),
    "node_spec": Recording(NODE_SHOP, "node --test --test-reporter=spec test/"),
    "node_color": Recording(NODE_SHOP, "FORCE_COLOR=1 node --test --test-reporter=spec test/"),
    "vitest": Recording(VITEST_SHOP, "npm test", NPM),
    "vitest_color": Recording(VITEST_SHOP, "FORCE_COLOR=1 npx vitest run --reporter=verbose", NPM),
    "vitest_github": Recording(VITEST_SHOP, "GITHUB_ACTIONS=true npx vitest run", NPM),
    "jest": Recording(JEST_SHOP, "npm test", NPM),
    "jest_color": Recording(JEST_SHOP, "FORCE_COLOR=1 npx jest --verbose", NPM),
    "jest_ci": Recording(JEST_SHOP, "npx jest --ci --runInBand --silent", NPM),
}  # fmt: skip


def record(name: str, recording: Recording) -> None:
    shutil.rmtree(ROOT, ignore_errors=True)
    for path, text in recording.files.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
    environment = {**os.environ, "CI": "true", "TERM": "xterm"}
    subprocess.run(["/bin/sh", "-c", recording.before], cwd=ROOT, check=False, capture_output=True, env=environment)
    done = subprocess.run(
        ["/bin/sh", "-c", recording.command], cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    shown = recording.command.replace("mvn -B -o -s settings.xml", "mvn -B").replace(f"{GRADLE} ", "gradle ")
    lines = [
        "##[group]Run actions/checkout@v4", "with:", "  repository: acme/shop", "##[endgroup]", "Syncing repository: acme/shop",
        f"##[group]Run {shown}", f"\x1b[36;1m{shown}\x1b[0m", "shell: /usr/bin/bash -e {0}", "##[endgroup]",
        *done.stdout.decode("utf-8", "replace").split("\n"), f"##[error]Process completed with exit code {done.returncode}.",
        "Post job cleanup.",
    ]  # fmt: skip
    stamped = [f"2026-11-24T09:14:{n // 50 % 60:02d}.{n * 1373 % 10000000:07d}Z {line}" for n, line in enumerate(lines)]
    (LOGS / f"{name}.log").write_text("\ufeff" + "\n".join(stamped) + "\n", encoding="utf-8")
    print(f"{name}: {len(lines)} lines, exit {done.returncode}")


def record_report(sample: Sample) -> None:
    """What a sample's run left at the places that its adapter collects, below ``tests/fixtures/reports``."""
    folder = Path(tempfile.mkdtemp(prefix="ledex-record-"))
    project = open_project(sample, folder / "work", BubblewrapRunner(), SandboxSettings(cache_folder=folder / "cache"))
    run = run_tests(project.bench, project.head)
    target = REPORTS / sample.framework
    shutil.rmtree(target, ignore_errors=True)
    for name, content in run.execution.collected.items():
        content = re.sub(rb"<properties>.*?</properties>", b"<properties/>", content, flags=re.S)  # of the machine, not of the tests
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    print(f"{sample.framework}: {', '.join(run.execution.collected)}")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["reports"]:
        for framework in sys.argv[2:] or SAMPLES:
            record_report(SAMPLES[framework])
        sys.exit(0)
    for wanted in sys.argv[1:] or RECORDINGS:
        record(wanted, RECORDINGS[wanted])
    shutil.rmtree(ROOT.parents[1], ignore_errors=True)
