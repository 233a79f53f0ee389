"""Stubs: calls as an interface has them."""

from __future__ import annotations

import gc
import inspect
import pickle
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any, Generic, Protocol, TypeVar, overload

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

import pb_broker as pb
from pb_jelly import UnjellyableType

from .support import Child, connected, failure_of, result_of, root_of

T_co = TypeVar("T_co", covariant=True)


class Calculator(Protocol):
    async def add(self, a: int, b: int) -> int:
        """Return the sum."""
        ...

    def later(self, value: str) -> Deferred[str]: ...

    async def history(self, last: int = 10) -> list[int]: ...


class Server(pb.Root):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def remoteMessageReceived(
        self, broker: Any, message: str, args: Any, kw: Any
    ) -> Any:
        self.calls.append((message, args, kw))
        return super().remoteMessageReceived(broker, message, args, kw)

    def remote_add(self, a: int, b: int) -> int:
        return a + b

    def remote_later(self, value: str) -> Deferred[str]:
        return succeed(value)

    def remote_history(self, last: int = 5) -> list[int]:
        return list(range(last))

    def remote_shapes(self, /, *args: Any, **kw: Any) -> Any:
        return [list(args), kw]

    def remote_keep(self, thing: Any) -> Any:
        return thing is self


class Caller(pb.TimedReference):
    """Reference of another kind, which records its calls and returns no Deferred."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def callRemote(self, _name: str | bytes, /, *args: Any, **kw: Any) -> Any:
        self.calls.append((_name, args, kw))
        return "something to await"


def test_stub_calls_the_methods_of_the_interface() -> None:
    with connected(Server()) as pair:
        calculator = root_of(pair).stub(Calculator)
        assert result_of(calculator.add(2, 3), pair) == 5
        assert result_of(calculator.add(2, b=3), pair) == 5
        assert result_of(calculator.later("soon"), pair) == "soon"


def test_call_of_a_stub_is_awaited() -> None:
    async def use(calculator: Calculator) -> int:
        return await calculator.add(2, 3) + len(await calculator.history(4))

    with connected(Server()) as pair:
        used = Deferred.fromCoroutine(use(root_of(pair).stub(Calculator)))
        assert result_of(used, pair) == 9


def test_defaults_are_not_sent() -> None:
    with connected(server := Server()) as pair:
        calculator = root_of(pair).stub(Calculator)
        assert result_of(calculator.history(), pair) == [0, 1, 2, 3, 4]
        assert result_of(calculator.history(last=1), pair) == [0]
        assert server.calls == [("history", (), {}), ("history", (), {"last": 1})]


@pytest.mark.parametrize("name", ["subtract", "callRemote", "_add", "broker", "luid"])
def test_name_missing_in_the_interface_fails_at_once(name: str) -> None:
    with connected(server := Server()) as pair:
        calculator = root_of(pair).stub(Calculator)
        with pytest.raises(AttributeError, match=f"'CalculatorStub'.*'{name}'"):
            getattr(calculator, name)
        with pytest.raises(AttributeError):
            setattr(calculator, name, 5)
        pair.flush()
        assert server.calls == []


@pytest.mark.parametrize(
    ("args", "kw", "reason"),
    [
        ((2,), {}, r"Calculator\.add\(\) missing 1 required .* 'b'"),
        ((1, 2, 3), {}, r"Calculator\.add\(\) takes 2 positional .* 3 were given"),
        ((1, 2), {"c": 3}, "unexpected keyword argument 'c'"),
        ((1, 2), {"a": 3}, "multiple values for argument 'a'"),
        ((1, 2), {"pbanswer": False}, "unexpected keyword argument 'pbanswer'"),
    ],
)
def test_call_with_wrong_arguments_fails_at_once(
    args: tuple[Any, ...], kw: dict[str, Any], reason: str
) -> None:
    with connected(server := Server()) as pair:
        calculator: Any = root_of(pair).stub(Calculator)
        with pytest.raises(TypeError, match=reason):
            calculator.add(*args, **kw)
        pair.flush()
        assert server.calls == []


def test_stub_returns_the_result_of_its_reference() -> None:
    caller = Caller()
    calculator: Any = caller.stub(Calculator)
    assert calculator.add(1, b=2) == "something to await"
    assert caller.calls == [("add", (1,), {"b": 2})]


def test_call_over_a_lost_connection_fails_as_callRemote_does() -> None:
    with connected(Server()) as pair:
        calculator = root_of(pair).stub(Calculator)
        pair.close()
        with pytest.raises(pb.DeadReferenceError):
            calculator.add(1, 2)


class Shapes(Protocol):
    async def shapes(
        self, a: int, /, b: int, *rest: int, c: int = 0, **kw: int
    ) -> Any: ...


class Self(Protocol):
    async def shapes(_, self: int, name: int) -> Any: ...


def test_all_kinds_of_arguments() -> None:
    with connected(Server()) as pair:
        stub: Any = root_of(pair).stub(Shapes)
        assert result_of(stub.shapes(1, 2, 3, 4, c=5, d=6), pair) == [
            [1, 2, 3, 4],
            {"c": 5, "d": 6},
        ]
        assert result_of(stub.shapes(1, b=2, a=3), pair) == [[1], {"a": 3, "b": 2}]
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            stub.shapes(1, a=2)
        for name in ("pbanswer", "pbcallback", "pberrback"):
            with pytest.raises(TypeError, match=f"'{name}' is an argument of callRem"):
                stub.shapes(1, 2, **{name: False})
        odd: Any = root_of(pair).stub(Self)
        assert result_of(odd.shapes(self=1, name=2), pair) == [
            [],
            {"self": 1, "name": 2},
        ]
        assert (
            str(inspect.signature(odd.shapes)) == "(self: 'int', name: 'int') -> 'Any'"
        )


class More(Calculator, Protocol):
    async def shapes(self, a: int) -> list[Any]: ...

    async def history(self, last: int = 10, first: int = 0) -> list[int]: ...


class Holder(Protocol[T_co]):
    async def shapes(self) -> T_co: ...


class Old(Generic[T_co]):
    async def shapes(self) -> T_co:
        raise AssertionError("only declared")


class Abstract(ABC):
    _private = 5

    @abstractmethod
    async def shapes(self) -> Any: ...


def test_inherited_methods_of_interfaces() -> None:
    with connected(Server()) as pair:
        more = root_of(pair).stub(More)
        assert result_of(more.add(1, 2), pair) == 3
        assert result_of(more.shapes(1), pair) == [[1], {}]
        call: Any = more.history(1, 0)
        assert failure_of(call, pair).check(TypeError)


@pytest.mark.parametrize("interface", [Holder, Holder[int], Old, Old[int], Abstract])
def test_generic_and_abstract_interfaces(interface: Any) -> None:
    with connected(Server()) as pair:
        stub = root_of(pair).stub(interface)
        assert result_of(stub.shapes(), pair) == [[], {}]
        assert type(stub) is type(root_of(pair).stub(interface))


def test_overloaded_methods_of_interfaces() -> None:
    class Two(Protocol):
        @overload
        async def shapes(self, a: int) -> int: ...

        @overload
        async def shapes(self, a: str) -> str: ...

    class Implemented(Two):
        @overload
        async def shapes(self, a: int) -> int: ...

        @overload
        async def shapes(self, a: str) -> str: ...

        async def shapes(self, a: Any) -> Any: ...

    with connected(Server()) as pair:
        two: Any = root_of(pair).stub(Two)
        assert result_of(two.shapes(1), pair) == [[1], {}]
        implemented: Any = root_of(pair).stub(Implemented)
        assert result_of(implemented.shapes(1), pair) == [[1], {}]
        with pytest.raises(TypeError, match="takes 1 positional argument"):
            implemented.shapes(1, 2)


def made(**members: Any) -> Any:
    return type("Made", (), members)


def sync(self: Any) -> int:
    raise AssertionError("only declared")


def sync_in_text(self: Any) -> Any: ...


sync_in_text.__annotations__["return"] = "list[int]"


def nothing(self: Any) -> None: ...


async def no_self() -> None: ...


async def reserved(self: Any, pbanswer: int) -> None: ...


@pytest.mark.parametrize(
    ("interface", "reason"),
    [
        (5, "an interface is a class, not int"),
        (len, "an interface is a class, not builtin_function"),
        (pb.Root, "Root is what a peer calls: an interface is a class of its own"),
        (made(total=property(sync)), "Made.total is a property: .* methods and noth"),
        (made(make=classmethod(sync)), "Made.make is a classmethod"),
        (made(make=staticmethod(sync)), "Made.make is a staticmethod"),
        (made(limit=5), "Made.limit is of type int"),
        (made(__annotations__={"limit": int}), "Made.limit is an attribute"),
        (made(total=sync), r"Made.total says that it returns int.*'async def'"),
        (made(total=sync_in_text), r"Made.total says that it returns list\[int\]"),
        (made(total=nothing), "Made.total says that it returns None"),
        (made(total=no_self), r"Made.total\(\) -> 'None' is no method"),
        (made(total=reserved), "Made.total has an argument 'pbanswer'"),
    ],
)
def test_invalid_interfaces_are_refused(interface: Any, reason: str) -> None:
    with connected(Server()) as pair, pytest.raises(TypeError, match=reason):
        root_of(pair).stub(interface)


def unannotated(self, a):  # type: ignore[no-untyped-def]
    raise AssertionError("only declared")


def unknown(self: Any, a: int) -> Nowhere[int]:  # type: ignore[name-defined]  # noqa: F821
    raise AssertionError("only declared")


def either(self: Any, a: int) -> Deferred[int] | Deferred[str]:
    raise AssertionError("only declared")


def anything(self: Any, a: int) -> Any: ...


@pytest.mark.parametrize("method", [unannotated, unknown, either, anything])
def test_awaitable_return_types_are_accepted(method: Any) -> None:
    caller = Caller()
    stub = caller.stub(made(ask=method))
    assert stub.ask(1) == "something to await"


class Rows(Protocol):
    def rows(self, start: int) -> AsyncIterator[int]: ...


def in_text(self: Any, start: int) -> Hidden.AsyncIterator[int]:  # type: ignore[name-defined]  # noqa: F821
    raise AssertionError("only declared")


async def generator(self: Any, start: int) -> AsyncIterator[int]:
    yield 5


@pytest.mark.parametrize("interface", [Rows, made(rows=in_text), made(rows=generator)])
def test_return_types_distinguish_streams_from_calls(interface: Any) -> None:
    caller = Caller()
    stub = caller.stub(interface)
    with pytest.raises(TypeError, match="missing"):
        stub.rows()
    assert isinstance(stub.rows(1), pb.RemoteStream)
    # Nothing is called before it is used.
    assert caller.calls == []


def test_stream_of_a_stub_is_iterated_over() -> None:
    class Yields(pb.Root):
        async def remote_rows(self, start: int) -> AsyncIterator[int]:
            for number in range(start, start + 3):
                yield number

    async def use(rows: Rows) -> list[int]:
        return [row async for row in rows.rows(start=5)]

    with connected(pb.exposes(Rows, validate=True)(Yields)()) as pair:
        used = Deferred.fromCoroutine(use(root_of(pair).stub(Rows)))
        assert result_of(used, pair) == [5, 6, 7]


def test_repr_of_a_stub() -> None:
    with connected(Server()) as pair:
        root = root_of(pair)
        calculator: Any = root.stub(Calculator)
        assert repr(calculator) == f"<CalculatorStub at {root!r}>"
        assert calculator.add.__name__ == "add"
        assert calculator.add.__qualname__ == "Calculator.add"
        assert calculator.add.__doc__ == "Return the sum."
        shown = str(inspect.signature(calculator.history))
        assert shown == "(last: 'int' = 10) -> 'list[int]'"
        assert "public" not in dir(calculator)
        names = {name for name in dir(calculator) if not name.startswith("_")}
        assert names == {"add", "later", "history", "jellyFor"}


def test_equality_of_stubs_and_their_references() -> None:
    with connected(Server()) as pair:
        root = root_of(pair)
        stub = root.stub(Calculator)
        assert stub == root.stub(Calculator)
        assert stub != root.stub(More)
        assert len({stub, root.stub(Calculator)}) == 1
        assert pb.reference_of(stub) is root
        with pytest.raises(TypeError, match="a Server is no stub"):
            pb.reference_of(Server())
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(stub)


def test_stub_is_sent_as_its_reference() -> None:
    with connected(Server()) as pair:
        root = root_of(pair)
        assert result_of(root.callRemote("keep", root.stub(Calculator)), pair)
        timed = root.with_timeout(5).stub(Calculator)
        failure = failure_of(root.callRemote("keep", timed), pair)
        assert failure.check(UnjellyableType)
        assert "a TimedReference cannot be sent" in str(failure.value)


def test_class_of_stubs_is_made_once_and_collected() -> None:
    class Short(Protocol):
        async def add(self, a: int, b: int = 5) -> int: ...

    with connected(Server()) as pair:
        root = root_of(pair)
        stub = root.stub(Short)
        assert type(stub) is type(root.stub(Short))
        interface, kind = weakref.ref(Short), weakref.ref(type(stub))
        del Short, stub
        gc.collect()
        assert interface() is None
        gc.collect()
        assert kind() is None


def test_stub_of_a_timed_reference() -> None:
    clock = Clock()
    with connected(Server()) as pair:
        pair.client.clock = clock
        calculator = root_of(pair).with_timeout(5).stub(Calculator)
        call: Any = calculator.add(1, 2)
        clock.advance(5)
        assert failure_of(call, pair).check(pb.CallTimeout)


def test_stub_of_a_service() -> None:
    reactor: Any = MemoryReactorClock()
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", 1)
    service = pb.PBClientService(endpoint, pb.PBClientFactory(), clock=reactor)
    calculator: Any = service.reference(hold=False).stub(Calculator)
    failed: list[Any] = []
    calculator.add(1, 2).addErrback(failed.append)
    assert failed[0].check(pb.DeadReferenceError)
    with pytest.raises(TypeError, match="missing"):
        calculator.add(1)


class Board(pb.Cacheable):
    observer: Any = None

    def getTypeToCopyFor(self, perspective: Any) -> Any:
        return "test.stub.Board"

    def getStateToCacheAndObserveFor(
        self, perspective: Any, observer: pb.RemoteCacheObserver
    ) -> Any:
        self.observer = observer
        return {"text": ""}


class BoardCopy(pb.RemoteCache):
    text: str

    def observe_write(self, text: str) -> None:
        self.text = text


pb.setUnjellyableForClass("test.stub.Board", BoardCopy)


class BoardChanges(Protocol):
    async def write(self, text: str) -> None: ...


class Boards(pb.Root):
    def __init__(self) -> None:
        self.board = Board()

    def remote_board(self) -> Board:
        return self.board


def test_stub_of_a_cache_observer() -> None:
    with connected(boards := Boards()) as pair:
        copy = result_of(root_of(pair).callRemote("board"), pair)
        changes = boards.board.observer.stub(BoardChanges)
        result_of(changes.write("hello"), pair)
        assert copy.text == "hello"
        with pytest.raises(AttributeError):
            changes.wipe()


def test_annotation_of_a_reference_names_its_interface() -> None:
    kind: Any = pb.RemoteReference[Calculator]
    assert kind.__origin__ is pb.RemoteReference
    assert kind.__args__ == (Calculator,)
    with connected() as pair:
        child = result_of(root_of(pair).callRemote("child"), pair)
        assert isinstance(child, pb.RemoteReference)
        assert not hasattr(child, "__dict__")
        assert not isinstance(Child(), pb.RemoteReference)


def test_failed_call_fails_its_deferred() -> None:
    class Fails(pb.Root):
        def remote_add(self, a: int, b: int) -> Any:
            return fail(pb.Error("no sums today"))

    with connected(Fails()) as pair:
        call: Any = root_of(pair).stub(Calculator).add(1, 2)
        assert str(failure_of(call, pair).value) == "no sums today"
