"""Judge thousands of candidate edits a second: tests are collected once, then each candidate runs in a fork or in place.

usage: _ledex_serve.py FD   (options as JSON on standard input)

Started by absolute path in the tested project's interpreter, beside ``_ledex_run.py``. OPTIONS as there, plus mode: "swap" (collect once;
candidates replace the code of live functions) or "import" (nothing imported beforehand; each candidate is imported anew in its fork).
One JSON object a line each way on FD. Requests: probe, judge, observe, quit. This process itself runs no test that leaves anything behind: forked workers do,
and a worker that hangs, crashes or soils its state is thrown away. Nothing said here is ever shown: plausible candidates are judged
again, cold. Standard library only, Python 3.8+, beside pytest itself.
"""

import ast
import builtins
import functools
import gc
import hashlib
import importlib
import importlib.machinery
import importlib.util
import json
import mmap
import os
import re
import select
import signal
import struct
import sys
import time
import types

FUTURES = 0x20000 | 0x40000 | 0x80000 | 0x100000 | 0x200000 | 0x400000 | 0x800000 | 0x1000000
SNAPSHOT_NODES = 20000
REPR = 200
MOST_IN_PLACE = 96


class OutOfFuel(BaseException):
    """The candidate looped longer than it was given. BaseException, so that ``except Exception`` does not swallow it."""


class TimeUp(BaseException):
    """The candidate used up its wall time."""


class Unfit(Exception):
    """The edit cannot be swapped into a live function: it changes what only an import can change."""


FUEL = [0, 0]


def tick():
    FUEL[0] -= 1
    if FUEL[0] < 0:
        raise OutOfFuel()


def alarm(number, frame):
    raise TimeUp()


def cap_memory(more):
    """Let this worker take ``more`` bytes of address space beyond what it has, so that a runaway candidate gets a MemoryError."""
    import resource

    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = now + more
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def stop_alarm():
    while True:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            return
        except TimeUp:
            continue


def short_hash(text):
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()


# --- candidates -------------------------------------------------------------------------------------------------------------------------


class Source:
    """One file of the tree as the interpreter reads it, and the live functions that came from it."""

    def __init__(self, path):
        import tokenize

        self.path = os.path.realpath(path)
        with open(self.path, "rb") as file:
            encoding, _ = tokenize.detect_encoding(file.readline)
        with open(self.path, encoding=encoding, newline="") as file:
            self.text = file.read()
        self.functions = {}
        self.shapes = {}

    def line(self, offset):
        text = self.text[:offset]
        return 1 + text.count("\n") + text.count("\r") - text.count("\r\n")

    def edited(self, edits, start=0, end=None):
        """text[start:end] with the edits made (character offsets of the whole file)."""
        end = len(self.text) if end is None else end
        parts, at = [], start
        for first, last, new in edits:
            parts += [self.text[at:first], new]
            at = last
        return "".join(parts + [self.text[at:end]])

    def live(self, unit):
        """Function objects of this file whose code starts at the unit's first line, wherever decorators and classes keep them."""
        key = (unit["start"], unit["end"])
        if key not in self.functions:
            line, name = self.line(unit["start"]), unit["qualname"].split(".")[-1]
            self.functions[key] = [
                f for f in gc.get_objects()
                if type(f) is types.FunctionType and f.__code__.co_name == name and f.__code__.co_firstlineno == line
                and os.path.realpath(f.__code__.co_filename) == self.path]
        return self.functions[key]


    def shape(self, unit):
        """The unit's unchanged signature and decorators, as dumps of their syntax."""
        key = (unit["start"], unit["end"])
        if key not in self.shapes:
            _, known = parse_unit(self, unit, self.text[unit["start"]:unit["end"]])
            self.shapes[key] = (ast.dump(known.args), [ast.dump(d) for d in known.decorator_list])
        return self.shapes[key]


SOURCES = {}


def source(path):
    if path not in SOURCES:
        SOURCES[path] = Source(path)
    return SOURCES[path]


def line_start(text, offset):
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1


def wrapped(file, unit, text):
    """The unit's text as a module that compiles alone: class headers around a method, blank lines in front of it for right numbers."""
    first = line_start(file.text, unit["start"])
    indent = file.text[first:unit["start"]]
    if indent.strip():
        raise Unfit()
    classes = unit["qualname"].split(".")[:-1]
    if indent and not classes:
        classes = [""]
    step = "\t" if indent.startswith("\t") else " "
    if len(classes) > len(indent):
        raise Unfit()
    headers = [step * n + ("class %s:\n" % name if name else "if 1:\n") for n, name in enumerate(classes)]
    padding = file.line(unit["start"]) - 1 - len(headers)
    return "\n" * max(padding, 0) + "".join(headers) + indent + text + "\n"


def parse_unit(file, unit, text):
    tree = ast.parse(wrapped(file, unit, text), file.path)
    body = tree.body
    for _ in range(8):
        if not body:
            raise Unfit()
        node = body[0]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if len(body) > 1:
                raise Unfit()
            return tree, node
        body = getattr(node, "body", None)
    raise Unfit()


def burn(line):
    call = ast.Expr(ast.Call(ast.Name("__ledex_tick__", ast.Load()), [], []))
    for node in ast.walk(call):
        node.lineno = node.end_lineno = line
        node.col_offset = node.end_col_offset = 0
    return call


def add_fuel(function):
    """A counter at the start of every loop body and of the function and its inner functions."""
    for node in list(ast.walk(function)):
        if isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
            node.body.insert(0, burn(node.body[0].lineno))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            at = 1 if ast.get_docstring(node, clean=False) is not None else 0
            node.body.insert(at, burn(node.body[0].lineno))


def find_code(code, name):
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            if constant.co_name == name and constant.co_flags & 0x2:  # CO_NEWLOCALS: a function, not a class body
                return constant
            found = find_code(constant, name)
            if found is not None:
                return found
    return None


def compile_unit(file, unit, text, original, transform=add_fuel):
    """(code, defaults nodes) of the unit's function in this text. Raises SyntaxError, Unfit."""
    tree, node = parse_unit(file, unit, text)
    signature, decorators = file.shape(unit)
    if [ast.dump(d) for d in node.decorator_list] != decorators:
        raise Unfit()
    arguments = node.args if ast.dump(node.args) != signature else None
    transform(node)
    if "__class__" in original.co_freevars:
        keep = ast.parse("if 0:\n __class__").body[0]
        for inner in ast.walk(keep):
            if hasattr(inner, "lineno"):
                inner.lineno = inner.end_lineno = node.body[0].lineno
        node.body.insert(1 if ast.get_docstring(node, clean=False) is not None else 0, keep)
    module = compile(tree, file.path, "exec", flags=original.co_flags & FUTURES, dont_inherit=True)
    code = find_code(module, unit["qualname"].split(".")[-1])
    if code is None or code.co_freevars != original.co_freevars:
        raise Unfit()
    return code, arguments


def evaluate(node, namespace):
    if node is None:
        return None
    return eval(compile(ast.Expression(node), "<default>", "eval"), namespace)


class Swap:
    """A candidate's code in the live functions; ``undo`` puts the original back."""

    def __init__(self, file, unit, edits, transform=add_fuel):
        functions = file.live(unit)
        if not functions:
            raise Unfit()
        original = functions[0].__code__
        code, arguments = compile_unit(file, unit, file.edited(edits, unit["start"], unit["end"]), original, transform)
        self.saved = [(f, f.__code__, f.__defaults__, f.__kwdefaults__) for f in functions]
        for function in functions:
            function.__code__ = code
            if arguments is not None:
                try:
                    function.__defaults__ = tuple(evaluate(d, function.__globals__) for d in arguments.defaults) or None
                    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults)
                    function.__kwdefaults__ = {a.arg: evaluate(d, function.__globals__) for a, d in pairs if d is not None} or None
                except Exception:
                    self.undo()
                    raise Unfit()

    def undo(self):
        for function, code, defaults, keywords in self.saved:
            function.__code__, function.__defaults__, function.__kwdefaults__ = code, defaults, keywords


def import_edited(path, text):
    """Imports of this file read the edited text instead (in this process only)."""
    loader = importlib.machinery.SourceFileLoader
    known = loader.get_code

    def get_code(self, name):
        if os.path.realpath(self.path) == path:
            return compile(text, self.path, "exec", dont_inherit=True)
        return known(self, name)

    loader.get_code = get_code


# --- tests ------------------------------------------------------------------------------------------------------------------------------


class PytestItems:
    """The collected pytest items by id, and the quickest faithful way to run each."""

    def __init__(self, items):
        self.items = {i.nodeid: i for i in items}
        self.direct = {i.nodeid: self.plain_call(i) for i in items}
        self.heard = None

    def plain_call(self, item):
        """A callable that is the whole test, where nothing of pytest takes part in it; else None."""
        import pytest

        if type(item) is not pytest.Function or any(m.name != "parametrize" for m in item.iter_markers()):
            return None
        if item.obj.__code__.co_flags & 0x2A0 if hasattr(item.obj, "__code__") else True:  # generators, coroutines, wrappers
            return None
        specification = getattr(item, "callspec", None)
        parameters = dict(specification.params) if specification is not None else {}
        information = getattr(item, "_fixtureinfo", None)
        if information is None or set(information.names_closure) != set(parameters) or getattr(specification, "indirect", None):
            return None
        if set(information.argnames) != set(parameters):
            return None
        name, owner = item.originalname, item.cls
        if owner is None:
            return functools.partial(item.obj, **parameters)
        return lambda: getattr(owner(), name)(**parameters)

    def run(self, test_id):
        """True when the test passes (or fails as expected), else False. OutOfFuel and TimeUp pass through."""
        call = self.direct[test_id]
        if call is not None:
            try:
                call()
            except (OutOfFuel, TimeUp):
                raise
            except BaseException as error:
                if self.heard is not None:
                    self.heard.append(failure_text(error))
                return False
            return True
        from _pytest.runner import runtestprotocol

        reports = runtestprotocol(self.items[test_id], nextitem=None, log=False)
        if FUEL[0] < 0:
            raise OutOfFuel()
        return not any(r.failed for r in reports)


class UnittestItems:
    def __init__(self, items):
        self.items = {i.id(): i for i in items}
        self.direct = {}
        self.heard = None

    def run(self, test_id):
        import unittest

        result = unittest.TestResult()
        unittest.TestSuite([self.items[test_id]]).run(result)
        if FUEL[0] < 0:
            raise OutOfFuel()
        if self.heard is not None:
            self.heard.extend(steady(text) for _, text in result.failures + result.errors)
        return result.wasSuccessful() and result.testsRun == 1


def steady(text):
    return re.sub("0x[0-9a-f]+", "0x", text)[-600:]


def failure_text(error):
    """What a test raised, without the addresses in it."""
    try:
        return type(error).__name__ + ": " + steady(str(error))
    except Exception:
        return type(error).__name__


def project_modules(root):
    """Names of loaded modules whose file lies in the tree, in order of import."""
    return [
        name for name, module in list(sys.modules.items())
        if type(module) is types.ModuleType and isinstance(getattr(module, "__file__", None), str)
        and os.path.realpath(module.__file__).startswith(root + os.sep)]


def snapshot(root):
    """A digest of the data that project modules and the process hold; two equal digests mean that a run left nothing behind."""
    seen, parts, left = set(), [], [SNAPSHOT_NODES]

    def walk(value, depth):
        if left[0] <= 0 or depth > 6:
            return
        left[0] -= 1
        kind = type(value)
        if value is None or kind in (bool, int, float, complex, str, bytes):
            parts.append(hash((kind.__name__, value)))
            return
        if id(value) in seen:
            return
        seen.add(id(value))
        parts.append(kind.__name__)
        if kind in (list, tuple, set, frozenset) or isinstance(value, (list, tuple)):
            parts.append(len(value))
            if kind in (set, frozenset):
                parts.append(hash(frozenset(id(v) for v in value)))
            else:
                for item in list.__iter__(value) if isinstance(value, list) else tuple.__iter__(value):
                    walk(item, depth + 1)
        elif isinstance(value, dict):
            parts.append(dict.__len__(value))
            for key, item in list(dict.items(value)):
                walk(key, depth + 1)
                walk(item, depth + 1)
        elif isinstance(value, types.FunctionType):
            walk(value.__dict__, depth + 1)
        elif isinstance(value, type):
            for key in sorted(k for k in vars(value) if not k.startswith("__") and k != "_abc_impl"):
                parts.append(key)
                walk(vars(value)[key], depth + 1)
        elif not isinstance(value, types.ModuleType):
            inner = getattr(value, "__dict__", None)
            if type(inner) is dict:
                walk(inner, depth + 1)

    for name in sorted(project_modules(root)):
        parts.append(name)
        values = vars(sys.modules[name])
        for key in sorted(values):
            if not key.startswith("__") and not key.startswith("@"):
                parts.append(key)
                walk(values[key], 0)
    walk(dict(os.environ), 0)
    parts.append(os.getcwd())
    for folder, folders, files in os.walk(root):
        folders[:] = [d for d in folders if d not in ("__pycache__", ".git", "node_modules")][:200]
        parts.extend((folder, f) for f in files if not f.endswith(".pyc"))
        if len(parts) > 5 * SNAPSHOT_NODES:
            break
    return hash(tuple(map(repr, parts)))


def clear_caches():
    for wrapper in CACHES:
        wrapper.cache_clear()


CACHES = []


def find_caches(root):
    CACHES[:] = []
    for candidate in gc.get_objects():
        if isinstance(candidate, functools._lru_cache_wrapper):
            code = getattr(getattr(candidate, "__wrapped__", None), "__code__", None)
            if code is not None and os.path.realpath(code.co_filename).startswith(root + os.sep):
                CACHES.append(candidate)


# --- the server -------------------------------------------------------------------------------------------------------------------------


class Channel:
    def __init__(self, number):
        self.descriptor = os.dup(number)
        os.set_inheritable(self.descriptor, False)
        os.close(number)
        self.buffer = b""

    def send(self, record):
        data = (json.dumps(record) + "\n").encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self.descriptor, data):]

    def receive(self):
        while b"\n" not in self.buffer:
            data = os.read(self.descriptor, 1 << 16)
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line.decode("utf-8"))


class Server:
    def __init__(self, options, channel, root):
        self.options, self.channel, self.root = options, channel, root
        self.items = None
        self.killers = []
        self.chunk = MOST_IN_PLACE
        self.texts = {}
        self.position = mmap.mmap(-1, 16)

    def collect_then(self, serve):
        """Import and collect the tests, then call ``serve`` from within the framework's own session."""
        run = sys.modules["_ledex_run"]
        if self.options["framework"] == "pytest":
            import pytest
            from _pytest.reports import TestReport

            server = self

            class Serving(run.pytest_plugin(self.options)):
                @pytest.hookimpl(tryfirst=True)
                def pytest_runtestloop(self, session):
                    server.items = PytestItems(session.items)
                    serve()
                    return True

                def pytest_runtest_makereport(self, item, call):
                    """The usual report without the costly rendering of the traceback.

                    In the usual order: the unittest plugin must hand over its exceptions first.
                    """
                    outcome, representation = "passed", None
                    if call.excinfo is not None:
                        if isinstance(call.excinfo.value, pytest.skip.Exception):
                            outcome, representation = "skipped", (str(item.fspath), 0, "skipped")
                        else:
                            outcome, representation = "failed", "failed"
                            if server.items is not None and server.items.heard is not None:
                                server.items.heard.append(failure_text(call.excinfo.value))
                    return TestReport(item.nodeid, item.location, {k: 1 for k in item.keywords}, outcome, representation, call.when,
                                      user_properties=item.user_properties)

            pytest.main([*run.pytest_arguments(self.options), "--capture=no"], plugins=[Serving()])
        else:
            import unittest

            server = self

            class Runner(unittest.TextTestRunner):
                def run(self, test):
                    server.items = UnittestItems(list(run.flatten(test)))
                    serve()
                    return unittest.TestResult()

            unittest.main(module=None, argv=["python -m unittest", *self.options["arguments"]], testRunner=Runner, exit=False)

    def fork(self, work, seconds, forward=None):
        """Run ``work(send)`` in a forked worker; yields its records. A worker without progress for ``seconds`` is killed.

        Returns (records, how it ended: "ended", "hung" or "died").
        """
        ours, theirs = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(ours)
                os.setpgid(0, 0)
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, 1)
                os.dup2(null, 2)
                gc.disable()

                def send(record):
                    data = (json.dumps(record) + "\n").encode("utf-8", "backslashreplace")
                    while data:
                        data = data[os.write(theirs, data):]

                work(send)
                status = 0
            except BaseException as error:
                if os.environ.get("LEDEX_SERVE_DEBUG"):
                    import traceback

                    send({"debug": traceback.format_exc()})
                del error
            finally:
                os._exit(status)
        os.close(theirs)
        buffer, records, ended = b"", [], "ended"
        while True:
            if not select.select([ours], [], [], seconds)[0]:
                ended = "hung"
                break
            data = os.read(ours, 1 << 16)
            if not data:
                break
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                try:
                    record = json.loads(line.decode("utf-8"))
                except ValueError:
                    continue
                records.append(record)
                if forward is not None:
                    forward(record)
        os.close(ours)
        for target in (-pid, pid):
            try:
                os.kill(target, signal.SIGKILL)
            except OSError:
                pass
        _, status = os.waitpid(pid, 0)
        if ended == "ended" and status != 0 and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and self.finished()):
            ended = "died"
        return records, ended

    def finished(self):
        return struct.unpack("q", self.position[8:16])[0] == 1

    def mark(self, number, finished=0):
        self.position[0:16] = struct.pack("qq", number, finished)

    def run_test(self, test_id, fuel, seconds):
        """True, False, "fuel" or "time"."""
        FUEL[0] = fuel
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.05)
        try:
            return self.items.run(test_id)
        except OutOfFuel:
            return "fuel"
        except TimeUp:
            return "time"
        finally:
            stop_alarm()

    def failing_text(self, test_id, fuel, seconds):
        """What a failing test raised; None where it passes."""
        self.items.heard = heard = []
        try:
            return None if self.run_test(test_id, fuel, seconds) is True else heard
        finally:
            self.items.heard = None

    # requests

    def probe(self, request):
        """Run every test twice on the unchanged code, in one worker: outcomes, times, fuel burnt, and whether anything was left behind."""
        answer = {"kind": "probe", "tests": {}, "state_changed": True, "live": []}

        def work(send):
            signal.signal(signal.SIGALRM, alarm)
            cap_memory(1 << 30)
            units = []
            for unit in request["units"]:
                file = source(unit["path"])
                try:
                    Swap(file, unit, [])
                    units.append(len(file.live(unit)))
                except (Unfit, SyntaxError, OSError, UnicodeDecodeError):
                    units.append(0)
            send({"live": units})
            before = None
            for turn in range(2):
                clear_caches()
                if turn == 1:
                    before = snapshot(self.root)
                for test_id in request["tests"]:
                    if test_id not in self.items.items:
                        continue
                    started = time.perf_counter()
                    outcome = self.run_test(test_id, 1 << 40, request["seconds"])
                    send({"test": test_id, "outcome": outcome, "seconds": time.perf_counter() - started, "fuel": (1 << 40) - FUEL[0],
                          "turn": turn, "direct": bool(self.items.direct.get(test_id))})
            clear_caches()
            send({"state_changed": snapshot(self.root) != before})
            send({"imported": [n for n in project_modules(self.root) if n not in known]})
            self.mark(0, 1)

        self.mark(0)
        known = set(project_modules(self.root))
        records, ended = self.fork(work, request["seconds"] * 3 + 5)
        late = [n for r in records for n in r.get("imported", [])]
        if late:  # modules that only the tests import: have them here, where every worker inherits their functions
            for name in late:
                try:
                    importlib.import_module(name)
                except BaseException:
                    continue
            find_caches(self.root)
            SOURCES.clear()
            known = set(project_modules(self.root))
            records, ended = self.fork(work, request["seconds"] * 3 + 5)
        for record in records:
            if "test" in record:
                answer["tests"].setdefault(record["test"], []).append([record["outcome"], record["seconds"], record["fuel"], record["direct"]])
            elif "debug" not in record:
                answer.update(record)
            else:
                answer["debug"] = record["debug"]
        answer["ended"] = ended
        if answer["state_changed"] is False and ended == "ended":
            self.warm_up(request)
        self.channel.send(answer)

    def warm_up(self, request):
        """Run the tests once here, now that a probe saw them leave nothing behind: every worker is forked with their lazy work done."""
        signal.signal(signal.SIGALRM, alarm)
        for test_id in request["tests"]:
            if test_id in self.items.items and self.run_test(test_id, 1 << 40, request["seconds"]) is False:
                once, twice = (self.failing_text(test_id, 1 << 40, request["seconds"]) for _ in range(2))
                if once == twice:
                    self.texts[test_id] = once
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        gc.collect()


    def judge(self, request):
        """Judge a batch; one answer a candidate: [id, status, failing tests that pass, killer].

        status: plausible, fails, breaks, syntax, unfit, fuel, time, crash, unjudged (the batch's time was over).
        In place, a worker judges a chunk and then looks whether the unchanged code still acts as before; if not, the chunk is judged
        again in smaller chunks, down to a worker for each candidate.
        """
        failing, passing, batch = request["failing"], list(request["passing"]), request["candidates"]
        passing.sort(key=lambda t: -self.killers.index(t) if t in self.killers else len(self.killers))
        at, in_place = 0, request["in_place"]
        if self.options["mode"] == "swap":  # looked up here once, so that no forked worker has to
            for unit in {(c["unit"]["path"], c["unit"]["start"]): c["unit"] for c in batch}.values():
                try:
                    source(unit["path"]).live(unit)
                    source(unit["path"]).shape(unit)
                except (Unfit, SyntaxError, ValueError, OSError):
                    pass
        over = time.monotonic() + request["batch_seconds"]
        while at < len(batch):
            if time.monotonic() > over:
                self.channel.send({"kind": "answers", "answers": [[c["id"], "unjudged", 0, None] for c in batch[at:]]})
                break
            piece = batch[at:at + self.chunk] if in_place else batch[at:at + 1]
            answered, first = [], at

            def note(record, answered=answered):
                if "answer" not in record:
                    return
                answered.append(record["answer"])
                killer = record["answer"][3]
                if killer in passing:
                    if killer in self.killers:
                        self.killers.remove(killer)
                    self.killers.append(killer)

            self.mark(-1)
            records, ended = self.fork(lambda send, piece=piece: self.work(send, piece, failing, passing, request, over),
                                       request["seconds"] * 2 + 0.5, note)
            if ended != "ended" or not self.finished():  # os._exit(0) in a candidate looks like an end
                number = max(struct.unpack("q", self.position[0:8])[0], 0)
                done = {a[0] for a in answered}
                if number < len(piece) and piece[number]["id"] not in done:
                    answered.append([piece[number]["id"], "time" if ended == "hung" else "crash", 0, None])
                at += number + 1
            else:
                at += len(piece)
            if in_place:
                if any(r.get("soiled") for r in records):
                    self.chunk = max(self.chunk // 4, 1)
                    at = first
                    continue
                self.chunk = min(self.chunk + 4, MOST_IN_PLACE)
            self.channel.send({"kind": "answers", "answers": answered})
        self.channel.send({"kind": "judged"})

    def work(self, send, piece, failing, passing, request, over):
        signal.signal(signal.SIGALRM, alarm)
        cap_memory(request["memory"])
        if self.options["mode"] == "import":
            self.work_imported(send, piece[0], failing, passing, request)
            return
        for number, candidate in enumerate(piece):
            self.mark(number)
            if time.monotonic() > over:
                for left in piece[number:]:
                    send({"answer": [left["id"], "unjudged", 0, None]})
                break
            file = source(candidate["unit"]["path"])
            try:
                swap = Swap(file, candidate["unit"], candidate["edits"])
            except Unfit:
                send({"answer": [candidate["id"], "unfit", 0, None]})
                continue
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                send({"answer": [candidate["id"], "syntax", 0, None]})
                continue
            clear_caches()
            answer = self.try_tests(failing, passing, request)
            swap.undo()
            send({"answer": [candidate["id"], *answer]})
        if len(piece) > 1 and request["in_place"]:
            clear_caches()
            text = self.failing_text(failing[0], request["fuel"], request["seconds"])
            good = text is not None and text == self.texts.get(failing[0], text)
            for test_id in passing[:5]:
                good = good and self.run_test(test_id, request["fuel"], request["seconds"]) is True
            if not good:
                send({"soiled": True})
        self.mark(len(piece), 1)

    def try_tests(self, failing, passing, request):
        gained, status, killer = 0, "", None
        for number, test_id in enumerate(failing):
            outcome = self.run_test(test_id, request["fuel"], request["seconds"])
            if outcome is True:
                gained += 1
            else:
                killer = killer or test_id
                status = status or (outcome if outcome in ("fuel", "time") else "fails")
                if status != "fails" or number >= request["patience"]:
                    break
        if not status:
            for test_id in passing:
                outcome = self.run_test(test_id, request["fuel"], request["seconds"])
                if outcome is not True:
                    return [outcome if outcome in ("fuel", "time") else "breaks", gained, test_id]
        return [status or "plausible", gained, killer]

    def work_imported(self, send, candidate, failing, passing, request):
        file = source(candidate["unit"]["path"])
        text = file.edited(candidate["edits"])
        self.mark(0)
        try:
            compile(text, file.path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            send({"answer": [candidate["id"], "syntax", 0, None]})
            self.mark(1, 1)
            return
        import_edited(file.path, text)
        answer = ["crash", 0, None]

        def serve():
            missing = [t for t in failing + passing if t not in self.items.items]
            answer[:] = ["breaks", 0, missing[0]] if missing else self.try_tests(failing, passing, request)
            send({"answer": [candidate["id"], *answer]})
            self.mark(1, 1)
            os._exit(0)

        self.collect_then(serve)
        send({"answer": [candidate["id"], "breaks", 0, None]})
        self.mark(1, 1)

    def observe(self, request):
        """Run one test with expressions of a unit recorded: values seen at ``spans`` of the edited text, and the unit's arguments."""
        found = {"kind": "observed", "values": [], "arguments": [], "outcome": None}

        def work(send):
            signal.signal(signal.SIGALRM, alarm)
            unit, file = request["unit"], source(request["unit"]["path"])
            seen = []

            def record(key, value):
                if len(seen) < 40:
                    seen.append([key, text_of(value)])
                return value

            def enter(names):
                if len(seen) < 40:
                    seen.append([-1, {k: text_of(v) for k, v in names.items()}])

            builtins.__ledex_seen__, builtins.__ledex_enter__ = record, enter
            edits = [list(e) for e in request["edits"]]
            Swap(file, unit, edits, transform=lambda node: record_values(node, request["wanted"]))
            clear_caches()
            outcome = self.run_test(request["test"], 1 << 40, request["seconds"])
            send({"outcome": outcome, "seen": seen})
            self.mark(0, 1)

        self.mark(0)
        for record in self.fork(work, request["seconds"] * 3 + 5)[0]:
            if "seen" in record:
                found["outcome"] = record["outcome"]
                found["values"] = [s for s in record["seen"] if s[0] >= 0]
                found["arguments"] = [s[1] for s in record["seen"] if s[0] == -1]
            elif "debug" in record:
                found["debug"] = record["debug"]
        self.channel.send(found)

    def behave(self, request):
        """Record the unit's plain arguments during tests, mutate them, and tell how each candidate answers: one digest an edit list."""
        found = {"kind": "behaviour", "digests": [], "inputs": 0}
        behave = load_sibling("_ledex_behave")

        def work(send):
            signal.signal(signal.SIGALRM, alarm)
            unit, file = request["unit"], source(request["unit"]["path"])
            recorded = []
            cap_memory(1 << 30)

            def enter(arguments):
                if len(recorded) < behave.MOST_RECORDED and behave.plain(arguments):
                    recorded.append(behave.copy.deepcopy(arguments))

            builtins.__ledex_enter__ = enter
            swap = Swap(file, unit, [], transform=record_arguments)
            for test_id in request["tests"]:
                self.run_test(test_id, 1 << 40, request["seconds"])
            swap.undo()
            function = file.live(unit)[0]
            near = behave.inputs(recorded)
            send({"inputs": len(near)})
            for number, edits in enumerate(request["candidates"]):
                answers = []
                try:
                    swap = Swap(file, unit, edits)
                except (Unfit, SyntaxError, ValueError, RecursionError, MemoryError):
                    continue
                for arguments in near:
                    clear_caches()
                    FUEL[0] = request["fuel"]
                    signal.setitimer(signal.ITIMER_REAL, 0.3, 0.05)
                    try:
                        answers.append(behave.answer(function, arguments))
                    except BaseException as error:
                        answers.append("!" + type(error).__name__)
                    finally:
                        stop_alarm()
                swap.undo()
                send({"number": number, "answers": [short_hash(a) for a in answers]})
            self.mark(0, 1)

        self.mark(0)
        for record in self.fork(work, request["seconds"] * 4 + 5)[0]:
            if "number" in record:
                found["digests"].append([record["number"], record["answers"]])
            else:
                found.update(record)
        self.channel.send(found)

    def loop(self):
        find_caches(self.root)
        known = sorted(self.items.items) if self.items is not None else []
        self.channel.send({"kind": "ready", "tests": known, "python": list(sys.version_info[:3])})
        while True:
            request = self.channel.receive()
            if request is None or request["op"] == "quit":
                os._exit(0)
            {"probe": self.probe, "judge": self.judge, "observe": self.observe, "behave": self.behave}[request["op"]](request)


def text_of(value):
    try:
        text = repr(value)
    except BaseException as error:
        text = "<%s without a repr: %s>" % (type(value).__name__, type(error).__name__)
    return text if len(text) <= REPR else text[:REPR] + "..."


def record_values(function, wanted):
    """Wrap the expressions whose source positions are in ``wanted`` ([line, column, end line, end column], columns in UTF-8 bytes)."""
    positions = {tuple(w): n for n, w in enumerate(wanted)}

    class Wrap(ast.NodeTransformer):
        def generic_visit(self, node):
            super().generic_visit(node)
            if isinstance(node, ast.expr) and not isinstance(getattr(node, "ctx", ast.Load()), (ast.Store, ast.Del)):
                key = positions.pop((node.lineno, node.col_offset, node.end_lineno, node.end_col_offset), None)
                if key is not None:
                    call = ast.Call(ast.Name("__ledex_seen__", ast.Load()), [ast.Constant(key), node], [])
                    return ast.fix_missing_locations(ast.copy_location(call, node))
            return node

    function.body = [Wrap().visit(s) for s in function.body]
    names = [a.arg for a in getattr(function.args, "posonlyargs", []) + function.args.args + function.args.kwonlyargs]
    text = "__ledex_enter__({%s})" % ", ".join("%r: %s" % (n, n) for n in names)
    call = ast.parse(text).body[0]
    for inner in ast.walk(call):
        if hasattr(inner, "lineno"):
            inner.lineno = inner.end_lineno = function.body[0].lineno
            inner.col_offset = inner.end_col_offset = 0
    function.body.insert(1 if ast.get_docstring(function, clean=False) is not None else 0, call)


def load_sibling(name):
    """A file of this folder as a module of its own name, without the folder ever being on sys.path."""
    if name not in sys.modules:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        specification = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def record_arguments(function):
    """Hand the positional arguments to ``__ledex_enter__`` on every call."""
    names = [a.arg for a in getattr(function.args, "posonlyargs", []) + function.args.args]
    call = ast.parse("__ledex_enter__([%s])" % ", ".join(names)).body[0]
    for inner in ast.walk(call):
        if hasattr(inner, "lineno"):
            inner.lineno = inner.end_lineno = function.body[0].lineno
            inner.col_offset = inner.end_col_offset = 0
    function.body.insert(1 if ast.get_docstring(function, clean=False) is not None else 0, call)


def main():
    run = load_sibling("_ledex_run")
    options = run.read_options()
    channel = Channel(int(sys.argv[1]))
    run.prepare_path(options)
    sys.argv = ["pytest" if options["framework"] == "pytest" else "python -m unittest", *options["arguments"]]
    builtins.__ledex_tick__ = tick
    root = os.path.realpath(os.getcwd())
    server = Server(options, channel, root)
    if options["mode"] == "import":
        if options["framework"] == "pytest":
            import _pytest.runner  # noqa: F401
            import pytest  # noqa: F401
        server.loop()
    else:
        server.collect_then(server.loop)
        channel.send({"kind": "failed", "message": "the tests could not be collected"})


if __name__ == "__main__":
    main()
