"""This module is the command ``pb-passwd``, which maintains a password store."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from getpass import getpass
from typing import Final, TypeAlias

from . import stores
from ._passwords.hashing import KEEPS
from ._passwords.store import PasswordStore
from .errors import PasswordStoreError, UnknownUser

__all__ = ["main"]

#: Exit codes of the command, besides 0 and argparse's 2.
NO: Final = 1
FAILED: Final = 3

_Command: TypeAlias = Callable[[PasswordStore, argparse.Namespace], int]

_EPILOG = """\
STORE is a file, or SQLAlchemy's URL of a PostgreSQL or SQLite database.  Passwords are
asked for, or read from the first line of standard input with --stdin; there is no
argument for them.  Exits with 0 when it is done; 1 for no: a wrong password, a user who
is there already or is not, a password that cannot be set, a hash that was not imported;
2 for arguments that it does not know; 3 when the store cannot be used.
"""


class _Refused(Exception):
    """The command is refused; the message has the reason."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Those of the command line; None for the process's own.

    Returns:
        What to exit with.
    """
    parsed = _parser().parse_args(arguments)
    command: _Command = parsed.command
    try:
        with closing(_store(parsed)) as store:
            return command(store, parsed)
    except (_Refused, UnknownUser, ValueError) as error:
        return _told(error, NO)
    except (PasswordStoreError, OSError) as error:
        return _told(error, FAILED)
    except KeyboardInterrupt:
        return _told("interrupted", NO)


def _told(error: object, status: int) -> int:
    print(f"pb-passwd: {error}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pb-passwd",
        description="Maintain the users of a Perspective Broker server.",
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def added(name: str, command: _Command, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text, epilog=_EPILOG)
        one.set_defaults(command=command, create=False, keep=None)
        one.add_argument("store", metavar="STORE")
        one.add_argument(
            "--allow-readable",
            action="store_true",
            help="take a file that others than its owner can use",
        )
        return one

    add = added("add", _add, "Add a user, and make the store if there is none.")
    add.add_argument(
        "--change", action="store_true", help="change the password of one who is there"
    )
    verify = added("verify", _verify, "Tell whether a password is a user's.")
    for one in (add, verify):
        one.add_argument("user", metavar="USER")
        one.add_argument(
            "--stdin", action="store_true", help="read the password from standard input"
        )
    remove = added("remove", _remove, "Remove a user.")
    remove.add_argument("user", metavar="USER")
    added("list", _list, "Print the names of the users.")
    imported = added("import", _import, "Add the users of an htpasswd file.")
    imported.add_argument("htpasswd", metavar="HTPASSWD")
    for one in (add, imported):
        one.set_defaults(create=True)
        one.add_argument(
            "--keep",
            choices=KEEPS,
            help="what to keep of passwords in a store that is made; "
            "argon2id if not said",
        )
    return parser


def _store(arguments: argparse.Namespace) -> PasswordStore:
    create, keep = arguments.create, arguments.keep
    if "://" in arguments.store:
        return stores.PasswordDatabase(arguments.store, create=create, keep=keep)
    return stores.PasswordFile(
        arguments.store,
        create=create,
        keep=keep,
        allow_readable=arguments.allow_readable,
    )


def _add(store: PasswordStore, arguments: argparse.Namespace) -> int:
    is_there = arguments.user in store.usernames()
    if is_there and not arguments.change:
        raise _Refused(f"there is a user {arguments.user!r} already: use --change")
    if arguments.change and not is_there:
        raise UnknownUser(f"there is no user {arguments.user!r}")
    store.set_password(arguments.user, _password(arguments, twice=True))
    return 0


def _remove(store: PasswordStore, arguments: argparse.Namespace) -> int:
    store.remove(arguments.user)
    return 0


def _list(store: PasswordStore, arguments: argparse.Namespace) -> int:
    for name in store.usernames():
        print(name)
    return 0


def _verify(store: PasswordStore, arguments: argparse.Namespace) -> int:
    if not store.verify(arguments.user, _password(arguments)):
        # Not which of the two: the command's caller may be a program that tells.
        raise _Refused("that is not a user's name and password")
    return 0


def _import(store: PasswordStore, arguments: argparse.Namespace) -> int:
    with open(arguments.htpasswd, "rb") as file:
        lines = file.read().splitlines()
    left_out = 0
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        refusal = _import_line(store, line)
        if refusal is not None:
            left_out += 1
            _told(f"{arguments.htpasswd}, line {number}: {refusal}", NO)
    return NO if left_out else 0


def _import_line(store: PasswordStore, line: bytes) -> str | None:
    """Add one user; say why not, if not."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    name, colon, hashed = text.partition(":")
    if not colon:
        return "a line is name:hash"
    try:
        if not store.import_hash(name, hashed):
            return f"there is a user {name!r} already"
    except (ValueError, PasswordStoreError) as error:
        return str(error)
    return None


def _password(arguments: argparse.Namespace, twice: bool = False) -> str | bytes:
    if arguments.stdin:
        return sys.stdin.buffer.readline().removesuffix(b"\n").removesuffix(b"\r")
    if not sys.stdin.isatty():
        raise _Refused("there is no terminal to ask at: use --stdin")
    password = getpass(f"Password of {arguments.user}: ")
    if twice and getpass("Again: ") != password:
        raise _Refused("these were two passwords")
    return password


def _run() -> None:
    # New files are private to their owner from the beginning.
    os.umask(0o077)
    sys.exit(main())
