"""The house rules that a reviewer would otherwise have to watch: which package imports which, no circles, no torch in the bot.

The rules are pure functions over a tree of sources; each is first shown to fail on a small wrong house, then held against ours.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ARROWS = {
    "sandbox": {"sandbox"},
    "inference": {"inference", "sandbox"},
    "bot": {"bot", "inference", "sandbox"},
    "training": {"training", "inference", "sandbox"},
}
NEVER_IMPORTED = {"tests", "conftest"}
"""First-party too, but no package of the house may know its tests."""
KEPT_APART = (("training.benchmark.mutation", "inference.templates"),)
"""(who, whom): who plants the bugs of the benchmark knows nothing of who repairs them, or the benchmark measures itself."""
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "base"}
INSIDE_THE_TESTED_PROJECT = sys.stdlib_module_names | {"pytest", "_pytest", "coverage"}
HEAVY = {"torch", "transformers", "trl", "peft", "accelerate", "datasets", "vllm", "matplotlib"}


@dataclass(frozen=True)
class Import:
    """``target`` is the dotted name asked for; ``name`` what is taken from it, if anything."""

    target: str
    name: str | None
    line: int
    at_import: bool
    """Whether it runs when the module is imported: not inside a function, and not only for the type checker."""
    runs: bool = True
    """Whether it ever runs: not only for the type checker."""


@dataclass(frozen=True)
class Module:
    name: str
    is_package: bool
    source: str


House = Mapping[str, Module]


def read_house(root: Path, packages: tuple[str, ...]) -> dict[str, Module]:
    """All modules below ``packages`` by dotted name. A folder without ``__init__.py`` holds data (a sample repository), not modules."""
    house: dict[str, Module] = {}

    def enter(folder: Path, name: str) -> None:
        for path in sorted(folder.iterdir()):
            if path.is_dir() and (path / "__init__.py").exists():
                enter(path, f"{name}.{path.name}")
            elif path.suffix == ".py":
                is_package = path.name == "__init__.py"
                module = name if is_package else f"{name}.{path.stem}"
                house[module] = Module(module, is_package, path.read_text(encoding="utf-8"))

    for package in packages:
        enter(root / package, package)
    return house


def is_for_the_type_checker(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


def read_imports(module: Module) -> list[Import]:
    """Every import of a module, those by ``import_module("literal")`` included, relative ones made absolute."""
    return list(_walk(ast.parse(module.source), module, at_import=True))


def _walk(node: ast.AST, module: Module, at_import: bool, runs: bool = True) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, None, node.lineno, at_import, runs)
    elif isinstance(node, ast.ImportFrom):
        target = _absolute(module, node)
        for alias in node.names:
            yield Import(target, alias.name, node.lineno, at_import, runs)
    elif isinstance(node, ast.Call) and (literal := _dynamic_target(node)) is not None:
        yield Import(literal, None, node.lineno, at_import, runs)
    inside = at_import and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    never_runs = node.body if isinstance(node, ast.If) and is_for_the_type_checker(node.test) else []
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, module, inside and child not in never_runs, runs and child not in never_runs)


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    parts = parts[: len(parts) - (node.level - 1)]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _dynamic_target(call: ast.Call) -> str | None:
    called = call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if called not in {"import_module", "__import__"} or not call.args:
        return None
    argument = call.args[0]
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else None


def top(name: str) -> str:
    return name.split(".")[0]


def is_inside_tested_project(module: Module) -> bool:
    return module.name.rsplit(".", 1)[-1].startswith("_ledex_")


def wrong_arrows(house: House) -> list[str]:
    """Imports of a package that may not be known, and of modules of the house that do not exist."""
    wrong = []
    for module in house.values():
        for found in read_imports(module):
            package = top(found.target)
            if package in NEVER_IMPORTED or (package in ARROWS and package not in ARROWS[top(module.name)]):
                wrong.append(f"{module.name}:{found.line} imports {found.target}")
            elif package in ARROWS and found.target not in house:
                wrong.append(f"{module.name}:{found.line} imports {found.target}, which is no module (a folder without __init__.py?)")
    return wrong


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def broken_separations(house: House) -> list[str]:
    """Imports, whenever they run, between two parts that are kept apart."""
    return [
        f"{module.name}:{found.line} imports {found.target}"
        for module in house.values()
        for found in read_imports(module)
        for who, whom in KEPT_APART
        if is_within(module.name, who) and (is_within(found.target, whom) or is_within(f"{found.target}.{found.name}", whom))
    ]


def runs_at_import(house: House, module: Module) -> set[str]:
    """The modules of the house that importing this one needs, apart from the packages above it."""
    needed = set()
    for found in read_imports(module):
        if found.at_import:
            full = f"{found.target}.{found.name}"
            needed.add(full if full in house else found.target)
    return (needed & set(house)) - {module.name}


def circle(house: House) -> list[str]:
    """One circle of imports that run at import, as the names along it; empty if there is none."""
    try:
        TopologicalSorter({module.name: runs_at_import(house, module) for module in house.values()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def foreign_imports(house: House) -> list[str]:
    """What the files that run in the tested project's interpreter import there beyond the standard library, pytest and coverage."""
    return [
        f"{module.name}:{found.line} imports {found.target or '.'}"
        for module in house.values()
        if is_inside_tested_project(module)
        for found in read_imports(module)
        if found.runs and top(found.target) not in INSIDE_THE_TESTED_PROJECT
    ]


def too_new_for_the_tested_project(house: House) -> list[str]:
    """The files that run in the tested project's interpreter and that Python 3.8 could not parse."""
    wrong = []
    for module in filter(is_inside_tested_project, house.values()):
        try:
            ast.parse(module.source, feature_version=(3, 8))
        except SyntaxError as error:
            wrong.append(f"{module.name}:{error.lineno} {error.msg}")
    return wrong


def vague_names(house: House) -> list[str]:
    return [name for name in house if name.rsplit(".", 1)[-1] in VAGUE_NAMES]


def heavy_imports(house: House, package: str) -> list[str]:
    """Heavy libraries that load when any module of ``package`` is imported, directly or through the rest of the house."""
    pending = [name for name in house if top(name) == package]
    reached: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            above = {name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)}
            pending += (above & set(house)) | runs_at_import(house, house[name])
    return [
        f"{name}:{found.line} imports {found.target}"
        for name in sorted(reached)
        for found in read_imports(house[name])
        if found.at_import and top(found.target) in HEAVY
    ]


def loads_torch(root: Path, package: str, scratch: Path) -> bool:
    """Whether a fresh interpreter that imports ``package`` from ``root`` loads torch.

    A stand-in for torch in ``scratch`` makes the answer the same with and without the real one.
    """
    (scratch / "torch.py").write_text("", encoding="utf-8")
    code = f"import sys, {package}; sys.exit('torch' in sys.modules and 3)"
    environment = os.environ | {"PYTHONPATH": f"{scratch}{os.pathsep}{root}"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode in (0, 3), ran.stderr
    return ran.returncode == 3


def house_of(**sources: str) -> dict[str, Module]:
    """A house from sources by name, ``__`` for the dot: ``bot="..."`` is the package, ``bot__app="..."`` a module."""
    names = {name.replace("__", "."): source for name, source in sources.items()}
    return {name: Module(name, any(other.startswith(name + ".") for other in names), source) for name, source in names.items()}


# Each rule can fail


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sandbox__runner", "import inference"),
        ("sandbox__runner", "from bot import cli"),
        ("inference__repair", "def later():\n    import bot.cli"),
        ("inference__repair", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import training"),
        ("bot__app", "import training"),
        ("bot__app", "import importlib\nimportlib.import_module('training')"),
        ("training__sft", "from bot import cli"),
        ("bot__app", "from tests import fakes"),
    ],
)
def test_an_arrow_against_the_design_is_found(module: str, source: str) -> None:
    house = house_of(**{"sandbox": "", "inference": "", "bot": "", "bot__cli": "", "training": "", module: source})
    assert len(wrong_arrows(house)) == 1


def test_the_arrows_of_the_design_are_allowed() -> None:
    house = house_of(
        sandbox="",
        sandbox__runner="import os, pytest\nfrom . import SandboxError",
        inference="import sandbox.runner",
        bot="from inference import repair\nimport sandbox",
        training="import inference\nfrom sandbox.runner import Runner",
    )
    assert wrong_arrows(house) == []


def test_an_import_from_a_folder_without_init_is_found() -> None:
    assert len(wrong_arrows(house_of(bot="", bot__app="from bot.pages.runs import show"))) == 1


@pytest.mark.parametrize("source", ["from inference import templates", "def f():\n    from inference.templates.swap import edits"])
def test_a_mutator_that_knows_the_templates_is_found(source: str) -> None:
    assert len(broken_separations(house_of(training__benchmark__mutation__tokens=source))) == 1


def test_a_circle_is_found() -> None:
    back = "try:\n    import bot.a\nexcept ImportError: pass"
    house = house_of(bot="", bot__a="from bot import b", bot__b="from .c import x", bot__c=back)
    assert set(circle(house)) == {"bot.a", "bot.b", "bot.c"}


def test_a_circle_through_the_package_itself_is_found() -> None:
    assert set(circle(house_of(bot="from bot.a import run", bot__a="from bot import Error"))) == {"bot", "bot.a"}


def test_imports_that_run_later_or_never_make_no_circle() -> None:
    later = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bot import a\ndef call():\n    from bot import a"
    assert circle(house_of(bot="", bot__a="from bot import b", bot__b=later)) == []


@pytest.mark.parametrize("source", ["import numpy", "from . import x", "from sandbox import report", "def f():\n    import pydantic"])
def test_a_file_for_the_tested_project_that_needs_more_than_the_standard_library_is_found(source: str) -> None:
    assert len(foreign_imports(house_of(sandbox="", sandbox___ledex_probe=source))) == 1


def test_a_file_for_the_tested_project_may_show_the_type_checker_its_siblings() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sandbox import _ledex_run\nelse:\n    import os"
    assert foreign_imports(house_of(sandbox="", sandbox___ledex_probe=source)) == []
    assert len(foreign_imports(house_of(sandbox="", sandbox___ledex_probe=source.replace("import os", "import numpy")))) == 1


def test_a_file_for_the_tested_project_with_new_syntax_is_found() -> None:
    assert len(too_new_for_the_tested_project(house_of(sandbox="", sandbox___ledex_probe="match x:\n    case 1: pass"))) == 1


def test_a_vague_name_is_found_for_modules_and_packages() -> None:
    assert vague_names(house_of(bot="", bot__utils="", bot__common="", bot__common__text="")) == ["bot.utils", "bot.common"]


def test_a_heavy_import_is_found_through_the_house() -> None:
    model = {"inference": "", "inference__model": "import torch", "inference__model__openai": ""}
    house = house_of(bot="", bot__cli="from inference.model import openai", **model)
    assert heavy_imports(house, "bot") == ["inference.model:1 imports torch"]


def test_a_package_that_loads_torch_is_found(tmp_path: Path) -> None:
    (tmp_path / "house" / "greedy").mkdir(parents=True)
    (tmp_path / "house" / "greedy" / "__init__.py").write_text("try:\n    import torch\nexcept ImportError:\n    pass\n", encoding="utf-8")
    assert loads_torch(tmp_path / "house", "greedy", tmp_path)


def test_the_house_is_read_from_disk_and_folders_of_data_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "bot" / "demo").mkdir(parents=True)
    (tmp_path / "bot" / "sample").mkdir()
    for name in ("bot/__init__.py", "bot/demo/__init__.py", "bot/demo/run.py", "bot/sample/broken.py"):
        (tmp_path / name).write_text("def (" if "broken" in name else "", encoding="utf-8")
    assert set(read_house(tmp_path, ("bot",))) == {"bot", "bot.demo", "bot.demo.run"}


# Our house


@pytest.fixture(scope="module")
def house() -> House:
    return read_house(ROOT, tuple(ARROWS))


def test_packages_import_only_along_the_arrows(house: House) -> None:
    assert wrong_arrows(house) == []


def test_the_mutator_of_the_benchmark_imports_nothing_from_the_templates(house: House) -> None:
    assert broken_separations(house) == []


def test_no_modules_import_each_other_in_a_circle(house: House) -> None:
    assert circle(house) == []


def test_files_for_the_tested_project_need_only_the_standard_library_and_its_test_tools(house: House) -> None:
    assert foreign_imports(house) == []


def test_files_for_the_tested_project_parse_on_python_3_8(house: House) -> None:
    assert too_new_for_the_tested_project(house) == []


def test_no_module_has_a_vague_name(house: House) -> None:
    assert vague_names(house) == []


@pytest.mark.parametrize("package", ["sandbox", "inference", "bot"])
def test_importing_the_house_without_training_loads_no_heavy_library(house: House, package: str) -> None:
    assert heavy_imports(house, package) == []


def test_import_bot_loads_no_torch(tmp_path: Path) -> None:
    assert not loads_torch(ROOT, "bot", tmp_path)
