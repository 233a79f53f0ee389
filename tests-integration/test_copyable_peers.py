"""Registered plain classes, between this implementation and twisted.spread.

A legacy peer has a Copyable and a RemoteCopy where ours has a dataclass, a class made
by attrs, or an enumeration.  All goes over real sockets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import attrs
import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.spread import pb as theirs
from twisted.trial.unittest import TestCase

from pb_cred import pb as ours
from pb_jelly import ClassRegistry


def stripped(text: str) -> str:
    return text.strip()


class Status(Enum):
    OPEN = "open"
    PAID = "paid"


@attrs.frozen
class Customer:
    name: str = attrs.field(converter=stripped)
    _rank: int = attrs.field(default=1, validator=attrs.validators.instance_of(int))


@dataclass(frozen=True, slots=True)
class Order:
    item: str
    count: int
    status: Status = Status.OPEN
    customer: Customer | None = None
    same: list[Any] = field(default_factory=list)
    note: str = field(default="", metadata={"pb": False})

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"a count of {self.count}")


def upgraded(state: dict[str, Any], version: int) -> dict[str, Any]:
    """Read the state of the version without a count."""
    return {"count": 1, **state}


def policy() -> ours.SecurityOptions:
    """Return the policy of one of our ends, with the classes it takes."""
    made = ours.SecurityOptions(ClassRegistry())
    made.allowBasicTypes()
    ours.copyable("shop.Status", policy=made)(Status)
    ours.copyable("shop.Customer", policy=made)(Customer)
    ours.copyable("shop.Order", policy=made, version=2, upgrade=upgraded)(Order)
    return made


class TheirCopy(theirs.Copyable, theirs.RemoteCopy):
    """Class of a legacy peer, sent and received under one name."""

    wire_name = b""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def getTypeToCopy(self) -> bytes:
        return self.wire_name


class TheirOrder(TheirCopy):
    wire_name = b"shop.Order"


class TheirCustomer(TheirCopy):
    wire_name = b"shop.Customer"


class TheirStatus(TheirCopy):
    wire_name = b"shop.Status"


for cls in (TheirOrder, TheirCustomer, TheirStatus):
    theirs.setUnjellyableForClass(cls.wire_name, cls)


class Received:
    """The part of a root that is the same at either end."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def remote_keep(self, *things: Any) -> Any:
        self.kept += things
        return things[0]


class OurRoot(Received, ours.Root):
    pass


class TheirRoot(Received, theirs.Root):
    pass


ORDER = Order("tea", 2, Status.PAID, Customer(" Ada ", 3), [Status.PAID], "mine")
#: The same, of what is sent.
SENT = Order("tea", 2, Status.PAID, Customer("Ada", 3), [Status.PAID])
VERSION = "shop.Order.persistenceVersion"


def their_order(**others: Any) -> TheirOrder:
    """Return a legacy peer's object for the order."""
    paid = TheirStatus(name="PAID")
    return TheirOrder(
        **{
            **{"item": "tea", "count": 2, "status": paid, "same": [paid]},
            **{"customer": TheirCustomer(name=" Ada ", _rank=3), VERSION: 2},
            **others,
        }
    )


class CopyablePeersTest(TestCase):
    """Each test is one pair of peers."""

    async def connected(self, server: Any, client: Any) -> Any:
        """Return a reference to the root of a server that listens from now on."""
        port: Any = reactor.listenTCP(0, server, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        reactor.connectTCP("127.0.0.1", port.getHost().port, client)
        root = await client.getRootObject()
        gone = root.broker.notifyOnDisconnect
        self.addCleanup(self.disconnected, client, gone)
        return root

    def disconnected(self, client: Any, gone: Any) -> Any:
        """End the connection, and wait until it has."""
        done: Deferred[None] = Deferred()
        gone(lambda: done.callback(None))
        client.disconnect()
        return done

    def check_received(self, order: Any) -> None:
        """Assert that a legacy peer has received the order as it should."""
        assert isinstance(order, TheirOrder)
        order = vars(order)
        assert (order["item"], order["count"]) == ("tea", 2)
        assert type(order["status"]) is TheirStatus
        assert order["status"].__dict__ == {"name": "PAID"}
        assert order["same"][0] is order["status"]
        assert type(order["customer"]) is TheirCustomer
        assert order["customer"].__dict__ == {"name": "Ada", "_rank": 3}
        # One attribute that no legacy program has a use for.
        assert order[VERSION] == 2
        assert "note" not in order

    async def test_registered_classes_from_our_client_to_twisteds_server(self) -> None:
        there = TheirRoot()
        root = await self.connected(
            theirs.PBServerFactory(there), ours.PBClientFactory(security=policy())
        )
        order = await root.callRemote("keep", ORDER)
        self.check_received(there.kept[0])
        assert order == SENT
        assert type(order) is Order

    async def test_registered_classes_from_twisteds_client_to_our_server(self) -> None:
        here = OurRoot()
        root = await self.connected(
            ours.PBServerFactory(here, security=policy()), theirs.PBClientFactory()
        )
        self.check_received(await root.callRemote("keep", their_order()))
        assert here.kept == [SENT]

    async def test_registered_classes_between_our_two_ends(self) -> None:
        here = OurRoot()
        root = await self.connected(
            ours.PBServerFactory(here, security=policy()),
            ours.PBClientFactory(security=policy()),
        )
        order = await root.callRemote("keep", ORDER, Status.OPEN, [ORDER])
        assert order == SENT
        assert here.kept == [SENT, Status.OPEN, [SENT]]
        assert here.kept[2][0] is here.kept[0]

    async def test_registered_classes_of_an_older_peer(self) -> None:
        here = OurRoot()
        root = await self.connected(
            ours.PBServerFactory(here, security=policy()), theirs.PBClientFactory()
        )
        await root.callRemote("keep", TheirOrder(item="tea"))
        assert here.kept == [Order("tea", 1)]

    async def test_refused_state_fails_its_call_alone(self) -> None:
        here = OurRoot()
        root = await self.connected(
            ours.PBServerFactory(here, security=policy()), theirs.PBClientFactory()
        )
        for order, reason in [
            (
                their_order(discount=5),
                "shop.Order has no field 'discount' (at args[0])",
            ),
            (their_order(note="x"), "shop.Order has no field 'note' (at args[0])"),
            (
                their_order(count=0),
                "shop.Order: its state was refused: 'ValueError' (at args[0])",
            ),
            (
                their_order(status=TheirStatus(name="LOST")),
                "shop.Status has no member 'LOST' (at args[0].status)",
            ),
            (
                their_order(**{VERSION: 3}),
                "shop.Order of version 3; the newest known here is 2 (at args[0])",
            ),
        ]:
            with pytest.raises(theirs.RemoteError) as caught:
                await root.callRemote("keep", order)
            assert str(caught.value) == reason
        assert here.kept == []
        await root.callRemote("keep", their_order())
        assert here.kept == [SENT]
        self.flushLoggedErrors()

    async def test_class_registered_for_another_broker_is_refused(self) -> None:
        policy()
        here = OurRoot()
        root = await self.connected(
            ours.PBServerFactory(here), ours.PBClientFactory(security=policy())
        )
        with pytest.raises(ours.InsecureJelly) as caught:
            await root.callRemote("keep", ORDER)
        assert "does not allow the type b'shop.Order'" in str(caught.value)
        root = await self.connected(
            ours.PBServerFactory(here, security=policy()), ours.PBClientFactory()
        )
        with pytest.raises(ours.InsecureJelly) as caught:
            await root.callRemote("keep", ORDER)
        assert "does not allow the class" in str(caught.value)
        assert here.kept == []
        self.flushLoggedErrors()
