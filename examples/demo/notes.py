"""What both ends know: a note that is copied, and a summary that is cached."""

from __future__ import annotations

from pb_cred import pb


class Note(pb.Copyable, pb.RemoteCopy):
    """One note; each end has its own copy."""

    def __init__(self, title: str, text: str) -> None:
        self.title, self.text = title, text


pb.setUnjellyableForClass(Note, Note)


class LiveSummary(pb.RemoteCache):
    """The client's cache of the server's `Summary`, which keeps it up to date."""

    count: int

    def observe_setCount(self, count: int) -> None:
        self.count = count


pb.setUnjellyableForClass("notes.Summary", LiveSummary)
