"""What a project needs, read from its files."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.detection import Requirements, detect, requirement_files, wanted

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "thing"
requires-python = ">=3.9"
dependencies = ["six>=1", "idna; python_version < '3.10'"]
classifiers = ["Programming Language :: Python :: 3.9", "Programming Language :: Python :: 3.12"]
[project.optional-dependencies]
test = ["pytest<9", "thing[extra]"]
extra = ["attrs"]
docs = ["sphinx"]
dev = ["ruff"]
"""


def test_a_pep_621_project_is_installed_with_its_test_extra() -> None:
    found = detect({"pyproject.toml": PYPROJECT, "src/thing/__init__.py": ""})
    assert found.install_project
    assert found.source_layout
    assert not found.dynamic
    assert found.packages == ("six>=1", 'idna; python_version < "3.10"', "pytest<9", "attrs")
    assert found.development == ("ruff",)
    assert found.extras == ("test", "dev")
    assert (found.python, found.newest_tested, found.name) == (">=3.9", 12, "thing")
    assert found.source == "dependencies from pyproject.toml with extras test, dev"


def test_dependency_groups_are_followed_and_a_circle_ends() -> None:
    groups = '[dependency-groups]\ntest = ["six", {include-group = "more"}]\nmore = ["idna", {include-group = "test"}]\ndocs = ["sphinx"]\n'
    found = detect({"pyproject.toml": groups})
    assert found.packages == ("six", "idna")
    assert not found.install_project


def test_poetry_notation_becomes_specifiers() -> None:
    text = """
[build-system]
build-backend = "poetry.core.masonry.api"
[tool.poetry]
name = "thing"
[tool.poetry.dependencies]
python = "^3.8"
six = "^1.16"
idna = {version = "~3.4", extras = ["all"]}
old = "^0.3.1"
exact = "1.2"
any = "*"
mine = {path = "../mine"}
[tool.poetry.group.test.dependencies]
pytest = ">=7"
[tool.poetry.dev-dependencies]
black = "^22.1"
"""
    found = detect({"pyproject.toml": text})
    assert found.packages == ("six<2,>=1.16", "idna[all]<3.5,>=3.4", "old<0.4,>=0.3.1", "exact==1.2", "any", "pytest>=7")
    assert found.development == ("black<23,>=22.1",)
    assert found.python == "<4,>=3.8"
    assert found.install_project


def test_setup_cfg_is_read_declaratively() -> None:
    text = "[metadata]\nname = thing\n[options]\npython_requires = >=3.8\ninstall_requires =\n    six\n    idna ; python_version < '3.9'\n"
    text += "[options.extras_require]\ntesting =\n    mock  # for old tests\n"
    found = detect({"setup.cfg": text, "setup.py": "from setuptools import setup\nsetup()\n"})
    assert found.packages == ("six", 'idna; python_version < "3.9"', "mock")
    assert not found.dynamic
    assert (found.python, found.name, found.extras) == (">=3.8", "thing", ("testing",))


def test_setup_py_is_never_run_and_its_literals_are_used() -> None:
    text = (
        "import setuptools\nraise SystemExit('ran')\nsetuptools.setup(name='thing', python_requires='>=3.7', install_requires=read(),\n"
        "    tests_require=['mock'], extras_require={'test': ['iniconfig'], 'docs': ['sphinx']})\n"
    )
    found = detect({"setup.py": text})
    assert found.dynamic
    assert found.install_project
    assert (found.packages, found.extras, found.python) == (("mock", "iniconfig"), ("test",), ">=3.7")


def test_requirement_files_for_tests_come_first_and_documentation_is_left_out() -> None:
    names = ["requirements.txt", "requirements-dev.txt", "requirements/test.txt", "requirements/docs.txt", "docs/requirements.txt",
             "notes.txt", "requirements_test.txt", "constraints.txt", "tests/requirements.txt", "requirements/base.txt"]  # fmt: skip
    plain, test, development = requirement_files(names)
    assert plain == ("requirements.txt", "requirements/base.txt")
    assert test == ("requirements/test.txt", "requirements_test.txt", "tests/requirements.txt")
    assert development == ("requirements-dev.txt",)


def test_files_named_by_requirement_files_belong_to_the_key() -> None:
    files = {"requirements.txt": "-r requirements/base.txt\nsix\n", "requirements/base.txt": "-c ../constraints.txt\n",
             "constraints.txt": "six<2\n", "unrelated.txt": "x"}  # fmt: skip
    assert detect(files).files == ("constraints.txt", "requirements.txt", "requirements/base.txt")


def test_tox_dependencies_count_only_where_nothing_better_says_what_tests_need() -> None:
    tox = "[tox]\nenvlist = py38,py311\n[testenv]\ndeps =\n    mock\n    py27: old\n    -r other.txt\n    {env:X}\n"
    assert detect({"tox.ini": tox}).development == ("mock",)
    assert detect({"tox.ini": tox}).newest_tested == 11
    assert detect({"tox.ini": tox, "requirements-test.txt": "six"}).development == ()


def test_a_pipfile_is_read() -> None:
    found = detect({"Pipfile": '[packages]\nsix = "*"\n[dev-packages]\nmock = "==4"\n[requires]\npython_version = "3.11"\n'})
    assert (found.packages, found.development, found.python) == (("six",), ("mock==4",), "==3.11.*")


def test_no_dependency_file_means_pytest_only() -> None:
    assert detect({"module.py": ""}) == Requirements()
    assert detect({}).source == "no dependency file: pytest only"


def test_a_python_version_file_pins() -> None:
    assert detect({".python-version": "3.10.4\n"}).pinned_python == "3.10"


@pytest.mark.parametrize("package", ["--index-url=http://evil.test", "-e git+https://evil.test/x", "../other", "six\n--pre"])
def test_what_is_no_requirement_never_reaches_the_installer(package: str) -> None:
    text = "[project]\nname = 'x'\ndependencies = ['six', '''" + package + "''']\n"
    assert tomllib.loads(text)
    assert detect({"pyproject.toml": text}).packages == ("six",)


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.cfg", "setup.py", "tox.ini", "Pipfile", ".python-version"])
@given(text=st.text(max_size=300))
def test_any_text_is_read_without_an_exception(name: str, text: str) -> None:
    assert isinstance(detect({name: text}), Requirements)


def test_only_dependency_files_are_read() -> None:
    assert wanted("requirements/test.txt")
    assert wanted("setup.py")
    assert not wanted("src/setup.py")
    assert not wanted("thing.py")
