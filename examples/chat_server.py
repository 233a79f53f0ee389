"""The server of a small chat: who is in the room, what was said, and who may say it.

`chat_client.py` starts it and prints what two of its clients see.
"""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from zope.interface import implementer

from pb_cred import pb


class Line(pb.Copyable):
    """One line of the conversation, sent by value."""

    def __init__(self, who: str, text: str) -> None:
        self.who, self.text = who, text

    def getTypeToCopy(self) -> bytes:
        return b"chat.Line"  # what clients know it by


@implementer(IRealm)
class Room:
    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.people: list[Person] = []

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        person = Person(avatarId.decode(), mind, self)
        self.people.append(person)
        return pb.IPerspective, person, lambda: self.people.remove(person)


class Person(pb.Avatar):
    def __init__(self, name: str, window: pb.RemoteReference, room: Room) -> None:
        self.name, self.window, self.room = name, window, room

    async def perspective_say(self, text: str) -> None:
        if not text:
            raise ValueError("say something")
        line = Line(self.name, text)
        self.room.lines.append(line)
        for person in list(self.room.people):
            await person.window.callRemote("show", line)

    def perspective_history(self) -> list[Line]:
        return self.room.lines

    def perspective_people(self) -> list[str]:
        return sorted(person.name for person in self.room.people)


def portal() -> Portal:
    users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"a", bob=b"b")
    return Portal(Room(), [users])
