"""Arguments checked against annotations."""

from __future__ import annotations

import sys
from typing import Any, Literal, Protocol, TypedDict

import pytest

import pb_broker as pb

from .support import connected, failure_of, logged, result_of, root_of


class Point(TypedDict):
    x: int


class Person(Protocol):
    async def name(self) -> str: ...


class Everything(Protocol):
    async def number(self, value: int) -> Any: ...

    async def real(self, value: float) -> Any: ...

    async def numbers(self, values: list[int]) -> Any: ...

    async def table(self, values: dict[str, int]) -> Any: ...

    async def either(self, value: int | list[int]) -> Any: ...

    async def one_of(self, value: Literal["on", "off"]) -> Any: ...

    async def point(self, value: Point) -> Any: ...

    async def reference(self, value: Any) -> Any: ...

    async def many(self, *values: int, **more: int) -> Any: ...

    async def default(self, value: int = 5) -> Any: ...

    async def bare(self, value: int, other: str) -> Any: ...


class Served(pb.Root):
    """Root object whose methods return their arguments."""

    def remote_number(self, value: int) -> Any:
        return value

    def remote_real(self, value: float) -> Any:
        return value

    def remote_numbers(self, values: list[int]) -> Any:
        return values

    def remote_table(self, values: dict[str, int]) -> Any:
        return values

    def remote_either(self, value: int | list[int]) -> Any:
        return value

    @pb.remote
    def one_of(self, value: Literal["on", "off"]) -> Any:
        return value

    def remote_point(self, value: Point) -> Any:
        return value

    def remote_reference(self, value: pb.RemoteReference[Person]) -> Any:
        return type(value).__name__

    def remote_many(self, *values: int, **more: int) -> Any:
        return [list(values), more]

    def remote_default(self, value: int = None) -> Any:  # type: ignore[assignment]  # noqa: RUF013
        return value

    def remote_bare(self, value, other, third=None):  # type: ignore[no-untyped-def]
        return [value, other, third]

    def remote_not_in_the_interface(self, value: int) -> Any:
        return value


@pb.exposes(Everything, validate=True)
class Server(Served):
    pass


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (("number", 5), 5),
        (("number", True), True),
        (("real", 5), 5),
        (("numbers", [1, 2]), [1, 2]),
        (("table", {"a": 1}), {"a": 1}),
        (("either", [1]), [1]),
        (("one_of", "on"), "on"),
        (("point", {"x": 1}), {"x": 1}),
        (("reference", pb.Referenceable()), "RemoteReference"),
        (("many", 1, 2), [[1, 2], {}]),
        (("default",), None),
        (("bare", 1, "a", object), [1, "a", None]),
        (("not_in_the_interface", "text"), "text"),
    ],
)
def test_call_with_valid_arguments_is_made(call: tuple[Any, ...], answer: Any) -> None:
    call = tuple(each for each in call if each is not object)
    with connected(Server()) as pair:
        assert result_of(root_of(pair).callRemote(*call), pair) == answer


ERRORS = [
    (("number", "x"), "argument 'value' of number must be int: str is not"),
    (("number", 1.5), "argument 'value' of number must be int: float is not"),
    (("numbers", [1, "x"]), r"'values' of numbers must be list\[int\]: item 1 of list"),
    (("table", {"a": "x"}), r"must be dict\[str, int\]: value of key 'a' of dict"),
    (("either", "x"), r"must be int \| list\[int\]: str did not match any"),
    (("one_of", "x"), r"argument 'value' of one_of must be .*Literal\['on', 'off'\]"),
    (("point", {"y": 1}), "argument 'value' of point must be "),
    (("reference", 5), "argument 'value' of reference must be .*RemoteReference"),
    (("many", 1, "x"), r"argument 'values\[1\]' of many must be int"),
    (("default", "x"), "argument 'value' of default must be "),
    (("bare", "x", "y"), "argument 'value' of bare must be int"),
    (("bare", 1, 2), "argument 'other' of bare must be str"),
    (("number",), r"number\(value: 'int'\) -> 'Any' does not take these arguments"),
    (("number", 1, 2), "does not take these arguments"),
]


@pytest.mark.parametrize(("call", "reason"), ERRORS)
def test_call_with_an_invalid_argument_is_refused(
    call: tuple[Any, ...], reason: str
) -> None:
    with connected(Server()) as pair, logged() as events:
        failure = failure_of(root_of(pair).callRemote(*call), pair)
    assert failure.check(pb.InvalidArgument)
    assert isinstance(failure.value, TypeError)
    with pytest.raises(pb.InvalidArgument, match=reason):
        failure.raiseException()
    # It is the caller's mistake.
    (event,) = events
    assert event["pb_event"] == "call_refused"
    assert (event["kind"], event["method"]) == ("InvalidArgument", call[0])


def test_invalid_keyword_arguments_are_refused() -> None:
    with connected(Server()) as pair:
        root = root_of(pair)
        assert result_of(root.callRemote("number", value=5), pair) == 5
        failure = failure_of(root.callRemote("many", more="x"), pair)
        assert "argument 'more' of many must be int" in str(failure.value)
        failure = failure_of(root.callRemote("number", other="x"), pair)
        assert "does not take these arguments" in str(failure.value)


@pytest.mark.parametrize(
    ("name", "args", "kw"),
    [
        ("table", ({"k" * 100_000: "x"},), {}),
        ("many", (), {"k" * 100_000: "x"}),
        ("number", (), {"k" * 100_000: "x"}),
        ("one_of", ("x" * 100_000,), {}),
        ("number", ("x" * 100_000,), {}),
    ],
)
def test_errors_are_bounded(name: str, args: Any, kw: Any) -> None:
    with connected(Server()) as pair:
        failure = failure_of(root_of(pair).callRemote(name, *args, **kw), pair)
        assert failure.check(pb.InvalidArgument)
        assert len(str(failure.value)) < 500


def test_error_has_the_argument_and_its_annotation() -> None:
    server = Server()
    with connected(server) as pair:
        with pytest.raises(pb.InvalidArgument) as caught:
            server.remoteMessageReceived(pair.server, "number", ("x",), {})
        assert (caught.value.argument, caught.value.expected) == ("value", "int")
        failure = failure_of(root_of(pair).callRemote("number", "x"), pair)
        assert (failure.value.argument, failure.value.expected) == ("", "")


@pytest.mark.dialect("pb")
def test_jellied_arguments_are_read_before_the_check() -> None:
    server = Server()
    with connected(server) as pair:
        broker = pair.server
        args, kw = broker.serialize((5,)), broker.serialize({})
        assert server.remoteMessageReceived(broker, "number", args, kw) == 5
        args = broker.serialize(("x",))
        with pytest.raises(pb.InvalidArgument):
            server.remoteMessageReceived(broker, "number", args, kw)


def test_values_are_not_copied() -> None:
    @pb.exposes(Everything, validate=True)
    class Keeps(Served):
        def remote_numbers(self, values: list[int]) -> Any:
            return values

    given = [1, 2]
    keeps = Keeps()
    assert keeps.remoteMessageReceived(None, "numbers", (given,), {}) is given


def test_validation_is_off_by_default() -> None:
    @pb.exposes(Everything)
    class Lenient(Served):
        pass

    with connected(Lenient()) as pair:
        assert result_of(root_of(pair).callRemote("number", "x"), pair) == "x"


def test_local_calls_are_not_validated() -> None:
    assert Server().callRemote("number", "x").result == "x"


def test_subclass_is_checked_against_its_own_annotations() -> None:
    class Text(Server):
        def remote_number(self, value: str) -> Any:  # type: ignore[override]
            return value

    @pb.exposes(Everything, validate=True)
    class Again(Text):
        pass

    for server in (Text(), Again()):
        with connected(server) as pair:
            root = root_of(pair)
            assert result_of(root.callRemote("number", "x"), pair) == "x"
            failure = failure_of(root.callRemote("number", 5), pair)
            assert "argument 'value' of number must be str" in str(failure.value)
            failure = failure_of(root.callRemote("real", "x"), pair)
            assert failure.check(pb.InvalidArgument)


class Who(Protocol):
    async def who(self, greeting: str) -> str: ...


@pb.exposes(Who, validate=True)
class Looked(pb.Viewable):
    def view_who(self, perspective: int, greeting: str) -> str:
        return f"{greeting} {perspective}"


class Shows(pb.Root):
    perspective = "someone"

    def remote_look(self) -> Looked:
        return Looked()


def test_views_are_validated() -> None:
    with connected(Shows()) as pair:
        view = result_of(root_of(pair).callRemote("look"), pair)
        # Who is looking is ours to say.
        assert result_of(view.callRemote("who", "hello"), pair) == "hello someone"
        failure = failure_of(view.callRemote("who", 5), pair)
        assert str(failure.value).startswith("argument 'greeting' of who must be str")


class Board(pb.Cacheable):
    observer: Any = None

    def getTypeToCopyFor(self, perspective: Any) -> Any:
        return "test.validation.Board"

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observer = observer
        return {"_pb_checks": {}}


class Write(Protocol):
    async def write(self, text: str) -> None: ...


@pb.exposes(Write, validate=True)
class BoardCopy(pb.RemoteCache):
    text: str

    def observe_write(self, text: str) -> None:
        self.text = text


pb.setUnjellyableForClass("test.validation.Board", BoardCopy)


class Boards(pb.Root):
    def __init__(self) -> None:
        self.board = Board()

    def remote_board(self) -> Board:
        return self.board


def test_state_of_a_copy_cannot_disable_validation() -> None:
    with connected(boards := Boards()) as pair:
        copy = result_of(root_of(pair).callRemote("board"), pair)
        observer = boards.board.observer
        result_of(observer.callRemote("write", "hello"), pair)
        assert copy.text == "hello"
        failure = failure_of(observer.callRemote("write", 5), pair)
        assert failure.check(pb.InvalidArgument)


def callable_without_annotations(value: Any) -> Any:
    return value


class Number(Protocol):
    async def number(self, value: int) -> Any: ...


def test_callables_without_annotations_are_checked_against_the_interface() -> None:
    class Callable:
        def __call__(self, value):  # type: ignore[no-untyped-def]
            return value

    @pb.exposes(Number, validate=True)
    class Odd(pb.Root):
        remote_number = Callable()

    with connected(Odd()) as pair:
        assert result_of(root_of(pair).callRemote("number", 5), pair) == 5
        failure = failure_of(root_of(pair).callRemote("number", "x"), pair)
        assert failure.check(pb.InvalidArgument)


Tree = list["Tree"]


def test_value_that_contains_itself_is_refused() -> None:
    class Nested(Protocol):
        async def nested(self, value: list[list[list[Any]]]) -> Any: ...

    @pb.exposes(Nested, validate=True)
    class Nests(pb.Root):
        def remote_nested(self, value: list[list[list[Any]]]) -> Any:
            return len(value)

    loop: list[Any] = []
    loop.append(loop)
    with connected(Nests()) as pair:
        assert result_of(root_of(pair).callRemote("nested", loop), pair) == 1


class _Deep(type):
    def __instancecheck__(cls, instance: object) -> bool:
        raise RecursionError


class Deep(metaclass=_Deep):
    """Stands for an annotation that a value follows down for ever."""


def test_value_that_nests_too_deeply_is_refused() -> None:
    @pb.exposes(Number, validate=True)
    class Nests(pb.Root):
        def remote_number(self, value: Deep) -> Any:
            raise AssertionError("it is none")

    with connected(Nests()) as pair:
        failure = failure_of(root_of(pair).callRemote("number", 5), pair)
        assert failure.check(pb.InvalidArgument)
        assert "nests too deeply" in str(failure.value)


def test_annotations_that_cannot_be_evaluated_are_refused() -> None:
    with pytest.raises(TypeError, match=r"remote_number mean nothing .* 'Hidden'"):

        @pb.exposes(Number, validate=True)
        class Bad(pb.Root):
            def remote_number(self, value: Hidden) -> Any:  # type: ignore[name-defined]  # noqa: F821
                return value

    with pytest.raises(TypeError, match=r"Recursive\.remote_number, refers to itself"):

        @pb.exposes(Number, validate=True)
        class Recursive(pb.Root):
            def remote_number(self, value: Tree) -> Any:
                return value


def test_missing_typeguard_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typeguard", None)
    with pytest.raises(ImportError, match=r"install pb-broker\[validation\]"):
        pb.exposes(Number, validate=True)(Served)
