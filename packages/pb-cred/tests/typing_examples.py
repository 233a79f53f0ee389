"""This module is checked by type checkers only: what must pass, and what must not."""

# Both checkers look at it.  What mypy must refuse is marked "type: ignore", what
# pyright must refuse "pyright: ignore", each with its rule; unused marks are errors.
# pyright: strict

from __future__ import annotations

from typing import Any, Protocol

from twisted.cred.credentials import UsernamePassword
from typing_extensions import assert_type

from pb_cred import pb


class Account(Protocol):
    async def balance(self) -> int: ...

    async def pay(self, to: str, amount: int) -> None: ...


@pb.exposes(Account)
class User(pb.Avatar):
    def perspective_balance(self) -> int:
        return 5

    @pb.remote
    async def pay(self, to: str, amount: int) -> None: ...


async def logged_in(factory: pb.PBClientFactory, service: pb.PBClientService) -> None:
    avatar = await factory.login(UsernamePassword(b"alice", b"sesame"))
    assert_type(avatar, pb.RemoteReference[Any])
    account = avatar.stub(Account)
    assert_type(await account.balance(), int)
    assert_type(await account.pay("bob", amount=5), None)
    assert_type(await service.when_avatar(), pb.RemoteReference[Any])

    # What must not pass.
    await account.pay("bob")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await account.pay("bob", "5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    avatar.login()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
