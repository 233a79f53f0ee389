"""Hostile expressions end in an object or a `JellyError`, without other effects."""

from __future__ import annotations

import builtins
import collections
import contextlib
import enum
import importlib
import itertools
import subprocess
import sys
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pb_jelly import (
    ClassRegistry,
    InsecureJelly,
    JellyError,
    LimitExceeded,
    Limits,
    MalformedJelly,
    SecurityOptions,
    Unjellier,
    Unjellyable,
    copyable,
    globalSecurity,
    jelly,
    unjelly,
)
from pb_jelly._deserialize.forward_references import Pending
from pb_jelly._deserialize.rare_forms import ABSENT, Build
from pb_jelly._types.type_table import HEADS

from .support import Node, Slotted


class Words(list[Any]):
    pass


class Text(str):
    pass


class Color(enum.Enum):
    RED = 1


class Failed(Exception):
    pass


class Thing(Unjellyable):
    pass


class Hook:
    def unjellyFor(self, unjellier: Any, sexp: Any) -> Any:
        for part in sexp[1:]:
            unjellier.unjelly(part)
        return self


class Patient:
    def unjellyFor(self, unjellier: Any, sexp: Any) -> Any:
        self.parts: list[Any] = []
        for part in sexp[1:]:
            unjellier.unjelly_state(part, self.parts.append)
        return self


class Elsewhere:
    def unjellyFor(self, unjellier: Any, sexp: Any) -> Any:
        made = [1]
        unjellier.announce(made)
        for part in sexp[1:]:
            unjellier.unjellyInto(made, 0, part)
        return made


REGISTRY = ClassRegistry()
REGISTRY.setUnjellyableForClass("thing", Thing)
REGISTRY.setUnjellyableForClass("hook", Hook)
REGISTRY.setUnjellyableForClass("patient", Patient)
REGISTRY.setUnjellyableForClass("elsewhere", Elsewhere)
REGISTRY.setUnjellyableForClass("call", lambda unjellier, sexp: object())
REGISTRY.setUnjellyableFactoryForClass("factory", lambda state: (state,))
POLICY = SecurityOptions(REGISTRY)
POLICY.allowInstancesOf(Node, Slotted, Words, Text, Color, Failed)
POLICY.allowTypes("thing", "hook", "patient", "elsewhere", "call", "factory")
POLICY.allowTypes("method")

NAMES = [
    *(f"{cls.__module__}.{cls.__name__}".encode() for cls in POLICY.allowedClasses),
    *REGISTRY.unjellyables,
    *REGISTRY.factories,
]
WORDS = [*HEADS[True], b"long_int", b"os.system", b"@", b"", b"."]

atoms = st.one_of(
    *(st.integers(-2, 4), st.integers(), st.floats(), st.binary(max_size=6)),
    *(st.sampled_from(NAMES), st.sampled_from(WORDS)),
    st.sampled_from([b"true", b"2020 7 1", b"n", b"RED", b"assert_never", b"other"]),
)


def expressions(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return expressions that are nearly right, or not at all."""
    parts = st.lists(inner, max_size=3)
    pairs = st.lists(st.tuples(inner, inner).map(list), max_size=3)
    heads = st.sampled_from(WORDS[:-5] + NAMES)
    return st.one_of(
        st.tuples(heads, parts).map(lambda both: [both[0], *both[1]]),
        parts,
        pairs.map(lambda pairs: [b"dictionary", *pairs]),
        st.tuples(st.integers(0, 4), inner).map(lambda x: [b"reference", *x]),
        st.integers(0, 4).map(lambda number: [b"dereference", number]),
        st.tuples(st.sampled_from(NAMES), inner).map(list),
        st.tuples(st.sampled_from(NAMES), inner, inner).map(
            lambda three: [b"@object", *three]
        ),
        st.tuples(inner, inner, inner, inner).map(
            lambda four: [b"@exception", b"builtins.OSError", *four]
        ),
    )


hostile = st.recursive(atoms, expressions, max_leaves=12)


def parts_of(value: Any) -> Iterator[Any]:
    """Yield the parts of an object."""
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset, collections.deque)):
        yield from value
    elif isinstance(value, BaseException):
        yield from (value.args, value.__cause__)
    yield from getattr(value, "__dict__", {}).values()
    for name in getattr(type(value), "__slots__", ()):
        yield getattr(value, name, None)


def assert_nothing_of_ours(value: Any) -> None:
    """Assert that an object contains no internal object of the unjellier."""
    seen: dict[int, Any] = {}
    todo = [value]
    while todo:
        part = todo.pop()
        assert type(part) not in (Pending, Build)
        assert part is not ABSENT
        if id(part) not in seen and not isinstance(part, type):
            seen[id(part)] = part
            todo += parts_of(part)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@settings(max_examples=500)
@given(hostile, st.booleans())
def test_any_expression_gives_an_object_or_a_jelly_error(
    sexp: Any, modern: bool
) -> None:
    limits = Limits(depth=40)
    message = ""
    try:
        assert_nothing_of_ours(unjelly(sexp, POLICY, modern=modern, limits=limits))
    except JellyError as error:
        message = str(error)
    assert len(message) < 1000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@given(st.recursive(st.sampled_from([1, b"a", [b"tuple"]]), expressions, max_leaves=9))
def test_any_expression_under_the_global_policy(sexp: Any) -> None:
    with contextlib.suppress(JellyError):
        assert_nothing_of_ours(unjelly(sexp))


# Names.

GADGETS = [
    *("os.system", "os.popen", "posix.system", "subprocess.Popen", "builtins.eval"),
    *("builtins.exec", "builtins.open", "builtins.__import__", "builtins.type"),
    *("builtins.object", "importlib.import_module", "sys.exit", "sys.modules"),
    *("pickle.loads", "marshal.loads", "shutil.rmtree", "socket.socket"),
    *("code.interact", "os.execv"),
    *("ctypes.CDLL", "pty.spawn", "runpy.run_path", "webbrowser.open", "pdb.run"),
    *(
        "pb_jelly.globalSecurity",
        "pb_jelly._policy.security_options.globalSecurity",
        "antigravity.x",
    ),
    *("pb_jelly.jelly.__globals__", "os.path.join", "os.environ", "__main__.x"),
    *("..", ".", "a.", ".a", "os.", "os..system", "os.system.__call__"),
    "\u043es.system",
    f"{Node.__module__}.Node.__init__.__globals__",
    f"{Node.__module__}.Node.__class__",
    f"{Node.__module__}.Node.__subclasses__",
    f"{Node.__module__}.POLICY",
    f"{Node.__module__}.st",
    f"{Node.__module__}.graphs",
    f"{Node.__module__}.Setting",
    f"{__name__}.os.system",
    f"{__name__}.Hook",
    f"{__name__}.JellyError",
    *("os.fork", "os.kill", "os.remove", "os.spawnv", "os.startfile", "os.putenv"),
    *("os.execvpe", "os.posix_spawn", "os.dup2", "os._exit", "nt.system"),
    *(
        "subprocess.run",
        "subprocess.call",
        "subprocess.getoutput",
        "_posixsubprocess.x",
    ),
    *("builtins.compile", "builtins.getattr", "builtins.setattr", "builtins.vars"),
    *("builtins.globals", "builtins.breakpoint", "builtins.input", "builtins.help"),
    *("builtins.memoryview", "builtins.property", "builtins.super", "builtins.print"),
    *("types.CodeType", "types.FunctionType", "types.ModuleType", "types.new_class"),
    *("functools.partial", "functools.reduce", "operator.attrgetter", "operator.call"),
    *("operator.methodcaller", "operator.itemgetter", "itertools.starmap"),
    *("importlib.reload", "importlib.util.spec_from_file_location", "imp.load_source"),
    *("importlib.machinery.SourceFileLoader", "zipimport.zipimporter", "pkgutil.x"),
    *("pickle.Unpickler", "pickle._loads", "shelve.open", "dbm.open", "copyreg.x"),
    *("copyreg._reconstructor", "copyreg.__newobj__", "yaml.load", "dill.loads"),
    *("pydoc.locate", "pydoc.pipepager", "inspect.getsource", "linecache.getlines"),
    *("runpy.run_module", "timeit.timeit", "cProfile.run", "trace.Trace", "bdb.Bdb"),
    *("codeop.compile_command", "code.InteractiveInterpreter", "doctest.testmod"),
    *("ctypes.cdll", "ctypes.pythonapi", "ctypes.string_at", "_ctypes.dlopen"),
    *("mmap.mmap", "fcntl.ioctl", "signal.signal", "resource.setrlimit", "gc.collect"),
    *("sys._getframe", "sys.settrace", "sys.setrecursionlimit", "sys.path"),
    *("threading.Thread", "multiprocessing.Process", "multiprocessing.Pool"),
    *("concurrent.futures.ProcessPoolExecutor", "asyncio.create_subprocess_shell"),
    *("asyncio.run", "socketserver.TCPServer", "http.server.HTTPServer"),
    *("urllib.request.urlopen", "ftplib.FTP", "smtplib.SMTP", "xmlrpc.client.x"),
    *("shutil.copyfile", "shutil.move", "tempfile.mktemp", "tarfile.open", "glob.glob"),
    *("zipfile.ZipFile", "pathlib.Path.unlink", "io.open", "io.FileIO", "codecs.open"),
    *("logging.config.dictConfig", "logging.FileHandler", "site.main", "venv.create"),
    *("weakref.finalize", "atexit.register", "sched.scheduler", "turtle.Turtle"),
    *("twisted.internet.reactor", "twisted.python.reflect.namedAny", "tkinter.Tk"),
    *("zope.interface.implementer", "pb_banana.loads", "pb_broker.Broker"),
    *("pb_jelly.unjelly", "pb_jelly.SecurityOptions", "pb_jelly.DummySecurityOptions"),
    *(
        "pb_jelly._policy.named_objects.find_module",
        "pb_jelly._policy.named_objects.importlib.import_module",
    ),
]


def test_number_of_gadget_names() -> None:
    assert len(set(GADGETS)) > 150


@pytest.fixture
def no_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail at the import of any module not yet imported."""

    def refuse(name: str, *args: Any) -> Any:
        if name in sys.modules:
            return sys.modules[name]
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr(importlib, "import_module", refuse)
    monkeypatch.setattr(builtins, "__import__", _watching(builtins.__import__))


def _watching(original: Any) -> Any:
    def imported(name: str, *args: Any, **kwargs: Any) -> Any:
        assert name in sys.modules or name in ("uuid", "pathlib", "fractions")
        return original(name, *args, **kwargs)

    return imported


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", GADGETS)
def test_gadget_names_import_and_reach_no_object(name: str, no_import: None) -> None:
    state = [b"dictionary"]
    for sexp in (
        [name.encode(), state],
        [b"class", name.encode()],
        [b"function", name.encode()],
        [b"module", name.encode()],
        [b"instance", [b"class", name.encode()], state],
        [b"method", b"system", [b"None"], [b"class", name.encode()]],
        [b"@enum", name.encode(), b"RED"],
        [b"@object", name.encode(), [b"list"], [b"None"]],
        [b"@exception", name.encode(), [b"tuple"], *[[b"None"]] * 3],
        [name, state],
        [b"reference", 1, [name.encode(), state]],
        [b"instance", [b"reference", 1, [b"class", name.encode()]], state],
        [b"method", name.encode(), [b"None"], [b"class", NAMES[0]]],
        [b"dictionary", [[b"class", name.encode()], 1]],
    ):
        for policy in (POLICY, globalSecurity, SecurityOptions()):
            with pytest.raises(JellyError):
                unjelly(sexp, policy, modern=True)


def outcome(sexp: Any, **options: Any) -> tuple[Any, str]:
    """Return the value of an expression, or the text of its error."""
    try:
        return unjelly(sexp, POLICY, **options), ""
    except JellyError as error:
        return None, str(error)


def names_about(cls: type[Any]) -> list[str]:
    """Return names that a peer might try on a class."""
    found = {*dir(cls), *dir(type), *dir(types.FunctionType), "", ".", "\0", "x" * 9999}
    return sorted(found | {f"{name}.__func__" for name in found})


@pytest.mark.parametrize("cls", [Node, Slotted, Words, Failed])
def test_methods_by_name_are_the_classs_own(cls: type[Any]) -> None:
    head = f"{cls.__module__}.{cls.__name__}".encode()
    for name in names_about(cls):
        sexp = [b"method", name.encode(), [b"None"], [b"class", head]]
        found, said = outcome(sexp)
        assert len(said) < 500
        if not said:
            assert type(found) is types.FunctionType
            assert found is cls.__dict__[name]
            assert not name.startswith("__")


def test_functions_by_name_are_the_modules_own() -> None:
    policy = SecurityOptions()
    policy.allowTypes("function")
    policy.allowModules(__name__)
    own = unjelly([b"function", f"{__name__}.expressions".encode()], policy)
    assert own is expressions
    for name in ("unjelly", "os.system", "importlib.import_module", "given"):
        with pytest.raises(JellyError):
            unjelly([b"function", f"{__name__}.{name}".encode()], policy)


def test_names_registered_for_another_policy_are_refused() -> None:
    policy = SecurityOptions(REGISTRY)
    policy.allowBasicTypes()
    for name in REGISTRY.unjellyables:
        with pytest.raises(InsecureJelly):
            unjelly([name, [b"dictionary"]], policy)


def test_class_attributes_are_out_of_reach_of_state() -> None:
    name = NAMES[0]
    state = [
        b"dictionary",
        *([[b"unicode", key], 5] for key in (b"__class__", b"__dict__", b"other")),
    ]
    node = unjelly([name, state], POLICY)
    assert type(node) is Node
    assert vars(node)["__class__"] == 5


# Bombs.


def doubled(levels: int, leaf: Any) -> Any:
    """Return a tuple that holds twice one that holds twice one and so on."""
    sexp: Any = leaf
    for number in range(levels):
        sexp = [b"tuple", [b"reference", number, sexp], [b"dereference", number]]
    return sexp


@pytest.mark.parametrize("levels", [30, 60])
def test_exponential_hash_of_shared_tuples_is_refused(levels: int) -> None:
    sexp = doubled(levels, [b"tuple", 1])
    for holder in (
        [b"set", sexp],
        [b"frozenset", sexp],
        [b"dictionary", [sexp, 1]],
        [b"set", [b"tuple", sexp, [b"tuple"]]],
        [b"list", sexp, [b"dictionary", [[b"dereference", levels - 1], 1]]],
        # In a dictionary that has to wait as well.
        [b"dictionary", [sexp, 1], [2, [b"dereference", 99]]],
    ):
        for limits in (None, Limits(depth=500)):
            with pytest.raises(LimitExceeded) as caught:
                unjelly([b"list", holder, [b"reference", 99, 5]], limits=limits)
            assert caught.value.limit == "nodes"
    # To make them is nothing.
    assert len(unjelly(sexp)) == 2


def tenfold(head: bytes, leaf: Any) -> Any:
    """Return ten levels, each of which holds the next one ten times."""
    sexp: Any = [head, leaf]
    for number in range(10):
        parts = [[b"reference", number, sexp], *[[b"dereference", number]] * 9]
        if head == b"dictionary":
            parts = [[key, part] for key, part in enumerate(parts)]
        sexp = [head, *parts]
    return sexp


@pytest.mark.parametrize("head", [b"list", b"tuple", b"dictionary", b"frozenset"])
def test_exponential_sharing_costs_linear_time(head: bytes) -> None:
    sexp = tenfold(head, [1, 1] if head == b"dictionary" else 1)
    value = unjelly(sexp, limits=Limits())
    seen: dict[int, Any] = {}
    todo = [value]
    while todo:
        part = todo.pop()
        if not isinstance(part, int) and id(part) not in seen:
            seen[id(part)] = part
            todo += part.values() if isinstance(part, dict) else part
    assert len(seen) == 11
    # It is written as it was read, and not ten times ten times ten ...
    again = jelly(value, limits=Limits())
    assert len(str(again)) < 5000
    if head == b"frozenset":
        # Of each level, one is left.
        assert unjelly([b"set", sexp], limits=Limits()) == {value}
    if head == b"tuple":
        with pytest.raises(LimitExceeded) as caught:
            unjelly([b"set", sexp], limits=Limits())
        assert caught.value.limit == "nodes"


def test_deeply_shared_frozensets_are_hashed_once() -> None:
    sexp: Any = [b"frozenset", 1]
    for number in range(60):
        again = [b"frozenset", [b"dereference", number]]
        sexp = [b"frozenset", [b"reference", number, sexp], again]
    assert len(unjelly([b"set", sexp])) == 1


def twins(levels: int, start: int) -> list[Any]:
    """Return references to frozensets, each of which is twice in the next."""
    made: list[Any] = [[b"reference", start, [b"frozenset", 1]]]
    for number in range(start, start + levels):
        one = [b"dereference", number]
        made.append(
            [b"reference", number + 1, [b"frozenset", one, [b"frozenset", one]]]
        )
    return made


@pytest.mark.parametrize("limits", [None, Limits()])
def test_exponential_comparison_of_frozensets_is_refused(limits: Limits | None) -> None:
    one, other = [b"dereference", 60], [b"dereference", 160]
    before = [*twins(60, 0), *twins(60, 100)]
    # To make them is nothing, nor to have one of them twice.
    assert len(unjelly([b"list", *before, [b"set", one, one]], limits=limits)) == 123
    for holder in (
        [b"set", one, other],
        [b"frozenset", one, other],
        [b"dictionary", [one, 1], [other, 1]],
        [b"set", [b"tuple", 1, one], [b"tuple", 1, other]],
        [b"dictionary", [one, 1], [other, [b"dereference", 999]]],
    ):
        sexp = [b"list", *before, holder, [b"reference", 999, 5]]
        with pytest.raises(LimitExceeded) as caught:
            unjelly(sexp, limits=limits)
        assert caught.value.limit == "nodes"


def test_comparison_of_all_members_of_equal_hash_is_refused() -> None:
    def nested(level: int, last: int) -> Any:
        if not level:
            return last * sys.hash_info.modulus
        members = [nested(level - 1, number) for number in range(16)]
        return [b"frozenset", *members, nested(level - 1, 16 + last)]

    assert len(unjelly([b"set", nested(1, 0), nested(1, 1)], limits=Limits())) == 2
    with pytest.raises(LimitExceeded) as caught:
        unjelly([b"set", nested(3, 0), nested(3, 1)], limits=Limits())
    assert caught.value.limit == "nodes"


def test_few_frozensets_of_equal_hash_are_accepted() -> None:
    value = {frozenset({-1}): frozenset(), frozenset({-2}): frozenset({(-1,), (-2,)})}
    assert unjelly(jelly(value), limits=Limits()) == value
    pairs = {frozenset({(a, b), a}) for a in (-1, -2) for b in (-1, -2, 3)}
    assert unjelly(jelly(pairs), limits=Limits()) == pairs
    assert unjelly([b"set", [b"frozenset"], [b"frozenset"]]) == {frozenset()}


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass(frozen=True)
class Frozen:
    left: Any = 0
    right: Any = 0


@dataclass(frozen=True)
class Inheriting(Frozen):
    __hash__ = Frozen.__hash__


@dataclass(frozen=True)
class Ignoring:
    left: Any = field(default=0, hash=False)
    right: Any = field(default=0, compare=False)


def values_policy() -> SecurityOptions:
    policy = SecurityOptions(ClassRegistry())
    for cls in (Frozen, Inheriting, Ignoring):
        copyable(cls.__name__, policy=policy)(cls)
    policy.allowInstancesOf(Pair)
    return policy


def expression_of(cls: type[Any], left: Any, right: Any) -> Any:
    if cls is Pair:
        name = f"{__name__}.Pair".encode()
        return [b"@object", name, [b"tuple", left, right], [b"None"]]
    state = [
        b"dictionary",
        [[b"unicode", b"left"], left],
        [[b"unicode", b"right"], right],
    ]
    return [cls.__name__.encode(), state]


def doubled_instances(cls: type[Any], levels: int, start: int = 0) -> list[Any]:
    """Return references to instances, each of which is twice in the next."""
    made: list[Any] = [[b"reference", start, expression_of(cls, 1, 1)]]
    for number in range(start, start + levels):
        one = [b"dereference", number]
        made.append([b"reference", number + 1, expression_of(cls, one, one)])
    return made


@pytest.mark.parametrize("cls", [Frozen, Inheriting, Pair])
def test_exponential_hash_of_instances_is_refused(cls: type[Any]) -> None:
    policy = values_policy()
    before = doubled_instances(cls, 60)
    last = [b"dereference", 60]
    for holder in (
        [b"set", last],
        [b"frozenset", last],
        [b"dictionary", [last, 1]],
        [b"set", [b"tuple", last]],
        [b"dictionary", [last, 1], [2, [b"dereference", 99]]],
    ):
        sexp = [b"list", *before, holder, [b"reference", 99, 5]]
        with pytest.raises(LimitExceeded) as caught:
            Unjellier(policy, modern=True, limits=Limits(depth=500)).unjellyFull(sexp)
        assert caught.value.limit == "nodes"
    # To make them is nothing.
    value = Unjellier(policy, modern=True).unjellyFull([b"list", *before])
    assert len(value) == 61


def test_instances_whose_hash_ignores_their_fields_are_accepted() -> None:
    sexp = [b"list", *doubled_instances(Ignoring, 60), [b"set", [b"dereference", 60]]]
    value = Unjellier(values_policy(), limits=Limits()).unjellyFull(sexp)
    assert value[-1] == {value[-2]}


def test_exponential_hash_of_an_instance_in_its_own_set_is_refused() -> None:
    one = [b"dereference", 60]
    outer = expression_of(Frozen, one, [b"set", [b"dereference", 99]])
    sexp = [b"list", *doubled_instances(Frozen, 60), [b"reference", 99, outer]]
    with pytest.raises(LimitExceeded) as caught:
        Unjellier(values_policy(), limits=Limits()).unjellyFull(sexp)
    assert caught.value.limit == "nodes"


def test_exponential_comparison_of_instances_is_refused() -> None:
    def cached(start: int) -> list[Any]:
        # A frozenset remembers its hash, so that only comparing takes long.
        made: list[Any] = [[b"reference", start, expression_of(Frozen, 1, 1)]]
        for number in range(start, start + 40):
            part = [b"frozenset", [b"dereference", number], [b"tuple", 1]]
            made.append([b"reference", number + 1, expression_of(Frozen, part, part)])
        return made

    sexp = [b"list", *cached(0), *cached(100)]
    sexp.append([b"set", [b"dereference", 40], [b"dereference", 140]])
    with pytest.raises(LimitExceeded) as caught:
        Unjellier(values_policy(), limits=Limits()).unjellyFull(sexp)
    assert caught.value.limit == "nodes"


@pytest.mark.parametrize("cls", [tuple, Frozen, Pair])
def test_keys_too_deep_to_hash_are_refused(cls: type[Any]) -> None:
    def wrapped(part: Any) -> Any:
        return [b"tuple", part] if cls is tuple else expression_of(cls, part, 1)

    def chain(length: int) -> list[Any]:
        made: list[Any] = [b"list", [b"reference", 0, wrapped(1)]]
        for number in range(1, length):
            made.append([b"reference", number, wrapped([b"dereference", number - 1])])
        return [*made, [b"set", [b"dereference", length - 1]]]

    policy = values_policy()
    if cls is tuple:
        assert len(Unjellier(policy, modern=True).unjellyFull(chain(1000))) == 1001
    # Enough to overflow the stack of the interpreter, if the check recursed.
    with pytest.raises(LimitExceeded) as caught:
        Unjellier(policy, modern=True).unjellyFull(chain(20_000))
    assert (caught.value.limit, caught.value.allowed) == ("depth", 1000)


def test_key_that_contains_itself_is_refused() -> None:
    itself = expression_of(Frozen, [b"dereference", 1], 2)
    sexp = [b"list", [b"reference", 1, itself], [b"set", [b"dereference", 1]]]
    with pytest.raises(MalformedJelly, match="be hashed: 'RecursionError'"):
        Unjellier(values_policy(), limits=Limits()).unjellyFull(sexp)


def test_few_shared_tuples_as_keys_are_accepted() -> None:
    sexp = doubled(10, [b"tuple", 1])
    assert len(unjelly([b"dictionary", [sexp, 1], [2, 3]])) == 2


_INTS = [number * sys.hash_info.modulus + 5 for number in range(1000)]
_TUPLES = list(itertools.product((-1, -2), repeat=10))
_MIXED: list[Any] = [*_INTS[:500], *map(str, range(500))]


@pytest.mark.parametrize("shape", [b"dictionary", b"set", b"frozenset", b"dict+"])
@pytest.mark.parametrize("keys", [_INTS, _TUPLES, _MIXED], ids=["i", "t", "mixed"])
def test_keys_of_equal_hash_are_refused(shape: bytes, keys: list[Any]) -> None:
    def made(keys: list[Any]) -> Any:
        sexps: list[Any] = [jelly(key) for key in keys]
        if shape == b"dict+":
            # Keys that are looked at twice, for they share tuples.
            shared: Any = [b"reference", 1, [b"tuple", 0, 0]]
            sexps += [[b"tuple", shared, 0], [b"tuple", [b"dereference", 1], 1]]
        if shape in (b"set", b"frozenset"):
            return unjelly([shape, *sexps], limits=Limits())
        pairs = [[sexp, 1] for sexp in sexps]
        return unjelly([b"dictionary", *pairs], limits=Limits())

    with pytest.raises(LimitExceeded) as caught:
        made(keys)
    assert caught.value.limit == "equal_hashes"
    assert caught.value.allowed == 64
    few = [key for key in keys if hash(key) == hash(keys[0])]
    with pytest.raises(LimitExceeded) as caught:
        made(few[:65])
    assert caught.value.used == 65
    assert len(made(few[:64])) in (64, 66)


def test_honest_keys_of_equal_hash_are_accepted() -> None:
    powers = [2.0**exponent for exponent in range(-1074, 1024)]
    assert unjelly(jelly(dict.fromkeys(powers))) == dict.fromkeys(powers)
    pairs = list(range(-100_000, 100_000))
    assert unjelly(jelly(set(pairs))) == set(pairs)
    # Nobody can choose these, and to be there twice is harmless.
    assert unjelly([b"set", *[b"a"] * 100_000]) == {b"a"}


@pytest.mark.parametrize(
    "keys",
    [
        [[b"list"]],
        [[b"tuple", [b"dictionary"]]],
        [[b"@decimal", b"sNaN"]],
        [[b"tuple", 1, [b"tuple", [b"@decimal", b"-sNaN5"]]]],
    ],
)
def test_unhashable_keys_among_many(keys: list[Any]) -> None:
    for sexp in (
        [b"set", *range(100), *keys],
        [b"dictionary", *[[key, 1] for key in [*range(100), *keys]]],
    ):
        with pytest.raises(MalformedJelly, match="as a key or member"):
            unjelly(sexp, modern=True)


def test_large_reference_numbers_are_refused() -> None:
    most = 2**31 - 1
    made = unjelly([b"list", [b"reference", most, [b"list"]], [b"dereference", most]])
    assert made == [[], []]
    for sexp in ([b"reference", most + 1, [b"list"]], [b"dereference", most + 1]):
        with pytest.raises(MalformedJelly, match="takes a number"):
            unjelly(sexp)


@pytest.mark.parametrize("head", [b"list", b"tuple", b"set", b"frozenset"])
def test_depth_of_many_levels_is_refused_without_recursion(head: bytes) -> None:
    sexp: Any = [b"tuple"]
    # Enough to overflow the stack of C, if reading recursed.
    for _ in range(300_000):
        sexp = [head, sexp]
    with pytest.raises(LimitExceeded) as caught:
        unjelly(sexp, limits=Limits())
    assert caught.value.used == 65
    # Taken apart here, since the deallocation of nested lists may recurse.
    while len(sexp) > 1:
        sexp = sexp[1]


def test_depth_limit_for_every_container() -> None:
    named = NAMES[0]
    numbers = itertools.count()
    for wrap in (
        lambda sexp: [b"dictionary", [1, sexp]],
        lambda sexp: [named, sexp],
        lambda sexp: [b"thing", sexp],
        lambda sexp: [b"hook", sexp],
        lambda sexp: [b"patient", sexp],
        lambda sexp: [b"elsewhere", sexp],
        lambda sexp: [b"factory", sexp],
        lambda sexp: [b"method", b"m", sexp, sexp],
        lambda sexp: [b"@object", f"{__name__}.Words".encode(), sexp, sexp],
        lambda sexp: [b"@exception", b"builtins.OSError", *[sexp] * 4],
        lambda sexp: [b"reference", next(numbers), [b"list", sexp]],
    ):
        sexp: Any = [b"list"]
        for _ in range(200):
            sexp = wrap(sexp)
        with pytest.raises(LimitExceeded) as caught:
            unjelly(sexp, POLICY, modern=True, limits=Limits())
        assert (caught.value.limit, caught.value.allowed) == ("depth", 64)


def test_full_depth_fits_into_a_small_stack() -> None:
    """Sixty-four levels of each kind of container, in both directions."""
    program = """
        import collections
        import sys
        from pb_jelly import (
            Jellyable, Limits, SecurityOptions, Unjellyable, jelly, unjelly
        )

        class Thing:
            def __init__(self, inner):
                self.inner = inner

            def __eq__(self, other):
                return self.inner == other.inner

        policy = SecurityOptions()
        policy.allowInstancesOf(Thing)
        limits = Limits(depth=64)
        kinds = [
            (60, lambda inner: [inner]),
            (60, lambda inner: (inner,)),
            (60, lambda inner: frozenset([inner])),
            (30, lambda inner: {1: inner}),
            (20, lambda inner: Thing(inner)),
            (60, lambda inner: collections.deque([inner])),
            (8, lambda inner: [({1: Thing(inner)},)]),
        ]
        done = 0
        for levels, wrap in kinds:
            value = 5
            for _ in range(levels):
                value = wrap(value)
            sys.setrecursionlimit(200)
            sexp = jelly(value, policy, modern=True, limits=limits)
            made = unjelly(sexp, policy, modern=True, limits=limits)
            sys.setrecursionlimit(5000)
            assert made == value
            done += 1
        print(done)
    """
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("7\n", "")


# Values at the edge, and beyond.

NINES = b"9" * 300_000

EDGES: list[Any] = [
    *([b"decimal", 1, 999_999_999], [b"decimal", -1, 2**62], [b"decimal", 1, 2**447]),
    *([b"decimal", 2**447, -(2**447)], [b"decimal", 10**20_000, -(2**70)]),
    *(
        [b"decimal", 1.5, 2],
        [b"decimal", b"1", 2],
        [b"decimal", NINES, 0],
        [b"decimal"],
    ),
    *([b"@decimal", NINES], [b"@decimal", b"1e999999999"], [b"@decimal", b"sNaN"]),
    *([b"@decimal", b"NaN" + NINES], [b"@decimal", b"Infinity"], [b"@decimal", b"x"]),
    *([b"@decimal", b"-1E-" + NINES], [b"@decimal", b"\xff"], [b"@decimal", 5]),
    *([b"date", b"0 1 1"], [b"date", b"10000 1 1"], [b"date", b"2021 2 29"]),
    *([b"date", NINES + b" 1 1"], [b"date", b"1 1 " + NINES], [b"date", b"1 " * 10**5]),
    *([b"datetime", b"1 1 1 24"], [b"datetime", b"1 1 1 1 1 1 1000000"]),
    *([b"time", b"25"], [b"time", b"-1"], [b"time", b"1_0"], [b"time", b"\xd9\xa1"]),
    *([b"timedelta", b"999999999 86399 999999"], [b"timedelta", b"1000000000 0 0"]),
    *([b"timedelta", b"-9999999999 0 0"], [b"timedelta", NINES + b" 0 0"]),
    *([b"@datetime", b"1 1 1", 2], [b"@datetime", b"1 1 1", 0, 10**6, 0, 0]),
    *([b"@datetime", b"1 1 1", 0, b"../../etc/passwd"], [b"@time", b"1", 1, 1, 2, 3]),
    *([b"@timezone", b"/etc/passwd"], [b"@timezone", b"Nowhere/At_All"]),
    *([b"@timezone", b"x" * 300_000], [b"@timezone", b"a\0b"], [b"@timezone", b"."]),
    *([b"@timezone", b""], [b"@timezone"], [b"@timezone", 2**447, 0, 0]),
    *([b"@fraction", 1, 0], [b"@fraction", 2**20_000, 3], [b"@fraction", 1.5, 2]),
    *([b"@range", 0, 2**447, 1], [b"@range", 0, 1, 0], [b"@range", 1.5, 2, 3]),
    *([b"@uuid", b"x"], [b"@uuid", b"x" * 16], [b"@uuid", b"x" * 300_000]),
    *([b"@complex", 1, 2], [b"@complex", float("nan"), 0.0], [b"@bytearray", 2**40]),
    *([b"@path", b"PosixPath", b"/etc/passwd"], [b"@path", b"Path", b"x"]),
    *([b"@path", b"PurePosixPath", b"\0"], [b"@path", NINES, NINES]),
    *(
        [b"@str", b"\xed\xa0\x80"],
        [b"@str", b"\xff"],
        [b"@deque", 2**70],
        [b"@deque", -1],
    ),
    *([b"unicode", b"\xff" * 300_000], [b"unicode", b"\xed\xa0\x80"]),
    *(
        [b"unicode", b"\xc0\x80"],
        [b"unicode", b"\xf4\x90\x80\x80"],
        [b"unicode", "\ud800"],
    ),
    *([b"boolean", NINES], [b"None", NINES], [NINES, NINES], [b"class", NINES]),
    *(2**447, 10**20_000, float("nan"), b"\0", NINES),
]


def assert_hashed_and_compared(value: Any) -> None:
    """Hash and compare the keys of a program, which takes little work."""
    with contextlib.suppress(TypeError):
        assert hash(value) == hash(value)
        assert value in [value]
    if isinstance(value, Decimal) and not value.is_snan():
        assert (value == 10) is False
        assert (value == 1.5) is False


@pytest.mark.parametrize("sexp", EDGES, ids=range(len(EDGES)))
def test_extreme_scalars_give_a_value_or_an_error(sexp: Any) -> None:
    for form in (
        sexp,
        [b"list", sexp],
        [b"set", sexp, 10],
        [b"dictionary", [sexp, sexp], [10, 1]],
        [b"tuple", [b"reference", 1, sexp], [b"dereference", 1]],
        [NAMES[0], [b"dictionary", [[b"unicode", b"x"], sexp]]],
    ):
        for modern in (False, True):
            value, said = outcome(form, modern=modern, limits=Limits())
            assert len(said) < 1000
            if form is sexp and not said:
                assert_hashed_and_compared(value)


def test_time_zone_keys_read_no_other_files(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def watch(file: Any, *args: Any, **kw: Any) -> Any:
        opened.append(str(file))
        raise FileNotFoundError(file)

    monkeypatch.setattr(builtins, "open", watch)
    monkeypatch.setattr("io.open", watch)
    for key in (b"../../etc/passwd", b"/etc/passwd", b"..", b"a/../../b", b"a\0b"):
        with pytest.raises(JellyError):
            unjelly([b"@timezone", key], POLICY, modern=True)
    assert [file for file in opened if "passwd" in file] == []


def test_integers_longer_than_pythons_digit_limit() -> None:
    huge = 1 << 100_000
    for sexp in (
        [b"list", [b"reference", huge, [b"list"]], [b"dereference", huge + 1]],
        [b"dictionary", [huge, [b"unicode", b"\xff"]]],
        [b"@enum", f"{__name__}.Color".encode(), huge],
        [huge],
    ):
        with pytest.raises(JellyError) as caught:
            unjelly(sexp, POLICY, modern=True)
        assert len(str(caught.value)) < 500
