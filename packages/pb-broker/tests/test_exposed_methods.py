"""Methods that peers can call: prefixes, marks and interfaces."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

import pytest

import pb_broker as pb

from .support import connected, failure_of, logged, result_of, root_of


class Calculator(Protocol):
    async def add(self, a: int, b: int) -> int: ...

    async def history(self, last: int = 10) -> list[int]: ...


def loud(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def louder(self: Any, *args: Any) -> Any:
        return str(function(self, *args)).upper()

    return louder


class Server(pb.Root):
    step = 1

    @pb.remote
    def up(self, number: int) -> int:
        return number + self.step

    @pb.remote(name="down")
    def lower(self, number: int) -> int:
        return number - self.step

    @pb.remote
    async def soon(self) -> str:
        return "now"

    @loud
    @pb.remote
    def say(self, text: str) -> str:
        return text

    @classmethod
    @pb.remote
    def kind(cls) -> str:
        return cls.__name__

    @staticmethod
    @pb.remote
    def constant() -> int:
        return 5

    @pb.remote(name="any name: even this one")
    def odd(self) -> str:
        return "odd"

    def remote_prefixed(self) -> str:
        return "prefixed"

    def hidden(self) -> str:
        raise AssertionError("nobody may call this")


def ask(server: Any, name: str, *args: Any) -> Any:
    with connected(server) as pair:
        return result_of(root_of(pair).callRemote(name, *args), pair)


def refused(server: Any, name: str, *args: Any) -> Any:
    with connected(server) as pair, logged():
        return failure_of(root_of(pair).callRemote(name, *args), pair)


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (("up", 5), 6),
        (("down", 5), 4),
        (("soon",), "now"),
        (("say", "hush"), "HUSH"),
        (("kind",), "Server"),
        (("constant",), 5),
        (("any name: even this one",), "odd"),
        (("prefixed",), "prefixed"),
    ],
)
def test_marked_methods_are_called(call: tuple[Any, ...], answer: Any) -> None:
    assert ask(Server(), *call) == answer


@pytest.mark.parametrize(
    "name", ["lower", "hidden", "step", "odd", "__init__", "remote_prefixed", "", "é"]
)
def test_unmarked_methods_are_not_called(name: str) -> None:
    failure = refused(Server(), name)
    assert failure.check(pb.NoSuchMethod)
    assert str(failure.value) == f"No such method: remote_{name}"


def test_mark_leaves_the_method_unchanged() -> None:
    assert Server().up(5) == 6
    assert Server.lower.__name__ == "lower"
    assert Server().callRemote("up", 5).result == 6


class Changed(Server):
    step = 10

    def up(self, number: int) -> int:
        return -number

    @pb.remote(name="descend")
    def lower(self, number: int) -> int:
        return super().lower(number)

    @pb.remote(name="constant")
    def other(self) -> int:
        return 6

    soon = None  # type: ignore[assignment]

    def remote_say(self, text: str) -> str:
        return f"remote {text}"


def test_marks_are_inherited_and_overridden() -> None:
    class Derived(Server):
        """Subclass without further methods."""

    assert ask(Derived(), "up", 5) == 6
    assert ask(Derived(), "kind") == "Derived"
    changed = Changed()
    assert ask(changed, "up", 5) == -5
    assert ask(changed, "descend", 50) == 40
    assert refused(changed, "down", 50).check(pb.NoSuchMethod)
    assert ask(changed, "constant") == 6
    assert refused(changed, "soon").check(pb.NoSuchMethod)
    # The prefix wins where it comes later.
    assert ask(changed, "say", "it") == "remote it"


def test_marks_of_a_mixin() -> None:
    class Mixin:
        @pb.remote
        def mixed(self) -> str:
            return "in"

    class Mixed(Mixin, Server):
        pass

    assert ask(Mixed(), "mixed") == "in"
    assert ask(Mixed(), "up", 1) == 2


class Looked(pb.Viewable):
    @pb.remote
    def who(self, perspective: Any, greeting: str) -> str:
        return f"{greeting} {perspective}"


class Shows(pb.Root):
    perspective = "someone"

    @pb.remote
    def look(self) -> Looked:
        return Looked()


def test_marked_method_of_a_view_gets_the_perspective() -> None:
    with connected(Shows()) as pair:
        view = result_of(root_of(pair).callRemote("look"), pair)
        assert result_of(view.callRemote("who", "hello"), pair) == "hello someone"


class Board(pb.Cacheable):
    observer: Any = None

    def getTypeToCopyFor(self, perspective: Any) -> Any:
        return "test.exposure.Board"

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observer = observer
        return {"text": ""}


class BoardCopy(pb.RemoteCache):
    text: str

    @pb.remote
    def write(self, text: str) -> None:
        self.text = text


pb.setUnjellyableForClass("test.exposure.Board", BoardCopy)


class Boards(pb.Root):
    def __init__(self) -> None:
        self.board = Board()

    @pb.remote
    def get(self) -> Board:
        return self.board


def test_marked_method_of_a_cached_copy() -> None:
    with connected(boards := Boards()) as pair:
        copy = result_of(root_of(pair).callRemote("get"), pair)
        result_of(boards.board.observer.callRemote("write", "hello"), pair)
        assert copy.text == "hello"


@pytest.mark.parametrize("thing", [5, "name", property(len), staticmethod(len)])
def test_only_functions_are_marked(thing: Any) -> None:
    with pytest.raises(TypeError, match="@remote marks functions, not what is a "):
        pb.remote(thing)


@pytest.mark.parametrize("name", ["", b"bytes", 5])
def test_exposed_names_are_text(name: Any) -> None:
    with pytest.raises(TypeError, match="the name of a remote method is text"):
        pb.remote(name=name)


def test_one_name_for_two_methods_is_refused() -> None:
    with pytest.raises(TypeError, match="Two has two methods for 'a': a and b"):

        class Two(pb.Referenceable):
            @pb.remote
            def a(self) -> None: ...

            @pb.remote(name="a")
            def b(self) -> None: ...

    with pytest.raises(
        TypeError, match=r"Both\.a is exposed as 'a', and so is .*Both\."
    ):

        class Both(pb.Referenceable):
            @pb.remote
            def a(self) -> None: ...

            def remote_a(self) -> None: ...

    with pytest.raises(
        TypeError, match=r"Late\.prefixed .*, and so is Server\.remote_p"
    ):

        class Late(Server):
            @pb.remote
            def prefixed(self) -> Any: ...


def test_init_subclass_of_other_bases_is_called() -> None:
    learnt: list[Any] = []

    class Learns:
        def __init_subclass__(cls, topic: str, **kw: Any) -> None:
            super().__init_subclass__(**kw)
            learnt.append((cls.__name__, topic))

    class Learned(pb.Root, Learns, topic="exposure"):
        pass

    assert learnt == [("Learned", "exposure")]


# Classes that say what they expose


def test_class_that_implements_its_interface() -> None:
    @pb.exposes(Calculator)
    class Good(pb.Root):
        def remote_add(self, a: int, b: int) -> int:
            return a + b

        @pb.remote
        async def history(self, last: int = 10) -> list[int]:
            return [last]

    assert Good.__name__ == "Good"
    with connected(Good()) as pair:
        calculator: Any = root_of(pair).stub(Calculator)
        assert result_of(calculator.add(1, 2), pair) == 3
        assert result_of(calculator.history(), pair) == [10]


def test_class_without_a_method_of_its_interface_is_refused() -> None:
    with pytest.raises(TypeError) as caught:

        @pb.exposes(Calculator)
        class Bad(pb.Root):
            def remote_add(self, a: int, b: int) -> Any: ...

            def history(self, last: int = 10) -> Any: ...

    where = "test_class_without_a_method_of_its_interface_is_refused.<locals>.Bad"
    assert str(caught.value) == (
        f"{where} does not have what it exposes: there is no remote_history, "
        "and no @remote method of that name\n"
        "  Calculator.history(last: 'int' = 10) -> 'list[int]'"
    )


def test_error_of_a_misfit_shows_both_signatures() -> None:
    with pytest.raises(TypeError) as caught:

        @pb.exposes(Calculator)
        class Bad(pb.Root):
            def remote_add(self, a: int) -> Any: ...

            def remote_history(self, last: int = 10) -> Any: ...

    where = "test_error_of_a_misfit_shows_both_signatures.<locals>.Bad"
    assert str(caught.value) == (
        f"{where} does not have what it exposes: it does not take 'b' by position\n"
        "  Calculator.add(a: 'int', b: 'int') -> 'int'\n"
        f"  {where}.remote_add(a: 'int') -> 'Any'"
    )


def test_subclass_has_to_implement_the_interface_of_its_base() -> None:
    @pb.exposes(Calculator)
    class Good(pb.Root):
        def remote_add(self, a: int, b: int) -> Any: ...

        def remote_history(self, last: int = 10) -> Any: ...

    with pytest.raises(TypeError, match=r"Bad does not have .* 'a' by position"):

        class Bad(Good):
            def remote_add(self) -> Any: ...  # type: ignore[override]


class Add(Protocol):
    async def add(self, a: int, b: int) -> int: ...


def test_any_callable_may_implement_a_method() -> None:
    class Adder:
        def __call__(self, a: int, b: int) -> int:
            return a + b

    @pb.exposes(Add)
    class Good(pb.Root):
        remote_add = Adder()

    @pb.exposes(Add)
    class Static(pb.Root):
        @staticmethod
        def remote_add(a: int, b: int) -> int:
            return a + b

    @pb.exposes(Add)
    class OfClass(pb.Root):
        @classmethod
        def remote_add(cls, a: int, b: int) -> int:
            return a + b

    @pb.exposes(Add)
    class Star(pb.Root):
        def remote_add(*args: Any, **kw: Any) -> int:
            return sum(args[1:])

    for server in (Good(), Static(), OfClass(), Star()):
        assert ask(server, "add", 1, 2) == 3


def test_prefix_of_the_flavor_names_the_methods() -> None:
    class Who(Protocol):
        async def who(self, greeting: str) -> str: ...

    pb.exposes(Who)(Looked)
    with pytest.raises(TypeError, match="no view_who"):

        @pb.exposes(Who)
        class Bad(pb.Viewable):
            def remote_who(self, greeting: str) -> Any: ...

    with pytest.raises(TypeError, match="it takes too little"):

        @pb.exposes(Who)
        class Short(pb.Viewable):
            def view_who(self) -> Any: ...

    class Write(Protocol):
        async def write(self, text: str) -> None: ...

    assert pb.exposes(Write)(BoardCopy) is BoardCopy


def test_invalid_interfaces_are_refused() -> None:
    with pytest.raises(TypeError, match="no interface to expose"):
        pb.exposes()
    with pytest.raises(TypeError, match="an interface is a class, not int"):
        pb.exposes(5)
    with pytest.raises(TypeError, match="no peer can call a Mapping: it has no flavor"):
        pb.exposes(Calculator)(type("Mapping", (), {}))
