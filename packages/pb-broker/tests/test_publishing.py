"""Copies that outlive a connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pb_broker as pb
from pb_broker import publishing

from .support import connected, logged, result_of, root_of


class Published(publishing.Publishable):
    def getTypeToCopy(self) -> bytes:
        return b"test.Published"

    def getStateToPublish(self) -> Any:
        return {"text": "published"}


class Copy(publishing.RemotePublished):
    text: str
    activations: int

    def activated(self) -> None:
        self.activations = getattr(self, "activations", 0) + 1


pb.setUnjellyableForClass(b"test.Published", Copy)


class Publisher(pb.Root):
    def __init__(self) -> None:
        self.published = Published("ID")

    def remote_get(self) -> Any:
        return self.published


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_state_is_sent_once_and_kept_in_a_file(here: Path) -> None:
    root = Publisher()
    with connected(root) as pair:
        call = publishing.whenReady(root_of(pair).callRemote("get"))
        copy = result_of(call, pair)
        assert (copy.text, copy.activations) == ("published", 1)
        assert copy.isActivated
        assert not copy._wasCleanWhenLoaded
        called: list[Any] = []
        copy.callWhenActivated(called.append)
        assert called == [copy]
        assert result_of(copy.when_activated(), pair) is copy
    assert [path.name for path in here.iterdir()] == ["None-None-ID.pub"]
    with connected(root) as pair:
        copy = result_of(root_of(pair).callRemote("get"), pair)
        assert copy._wasCleanWhenLoaded
        assert copy.text == "published"
        assert copy.broker is pair.client
    root.published.republish()
    with connected(root) as pair:
        copy = result_of(root_of(pair).callRemote("get"), pair)
        assert not copy._wasCleanWhenLoaded


def test_unreadable_file_is_ignored(here: Path) -> None:
    for content in (b"", b"\xff", b"\x01\x80\x09\x82os.system", b"\x01\x81"):
        (here / "None-None-ID.pub").write_bytes(content)
        with connected(Publisher()) as pair, logged():
            copy = result_of(
                publishing.whenReady(root_of(pair).callRemote("get")), pair
            )
            assert copy.text == "published"


def test_file_names_stay_in_the_directory() -> None:
    copy = Copy()
    copy.service = "../../etc"
    copy.perspective = "/root/x"
    copy.publishedID = b"..\x00" * 100
    name = copy.getFileName("ext")
    assert "/" not in name
    assert ".." not in name
    assert len(name) < 255


def test_names_of_perspectives_in_the_state() -> None:
    class Service:
        serviceName = "service"

    class Perspective:
        perspectiveName = "someone"

        def getService(self) -> Service:
            return Service()

    state = Published("ID").getStateToCacheAndObserveFor(Perspective(), None)  # type: ignore[arg-type]
    assert (state["perspective"], state["service"]) == ("someone", "service")


def test_missing_state_fails_the_deferreds() -> None:
    with connected(Publisher()) as pair, logged():
        waits = publishing.whenReady(root_of(pair).callRemote("nothing"))
        with pytest.raises(pb.NoSuchMethod):
            result_of(waits, pair)

    class Fails(Published):
        getStateToPublish = publishing.Publishable.getStateToPublish

    root = Publisher()
    root.published = Fails("other")
    with connected(root) as pair, logged() as events:
        waits = publishing.whenReady(root_of(pair).callRemote("get"))
        with pytest.raises(NotImplementedError):
            result_of(waits, pair)
        assert any("could not be had" in event["log_format"] for event in events)
        copy = result_of(root_of(pair).callRemote("get"), pair)
        with pytest.raises(NotImplementedError):
            result_of(copy.when_activated(), pair)
