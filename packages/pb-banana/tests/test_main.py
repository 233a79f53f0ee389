from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from pb_banana import (
    FILE_LIMITS,
    PB_VOCABULARY,
    BananaError,
    Encoder,
    FormatError,
    IncompleteError,
    InvalidToken,
    SExp,
    dumps,
)
from pb_banana.__main__ import main, to_bytes, to_text
from pb_banana.errors import NotationError

from .support import cut, expressions

PB = Encoder(FILE_LIMITS, vocabulary=PB_VOCABULARY)
MAGIC = b"\x89PB\x01"
MESSAGE: SExp = [b"message", 1, b"root", [b"tuple", 2.5]]
MESSAGE_TEXT = '(message 1 "root" (tuple 2.5))\n'


class Standard:
    """A replacement of sys.stdin or sys.stdout."""

    def __init__(self, data: bytes = b"") -> None:
        self.buffer = io.BytesIO(data)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs the command: exit code, output, complaints."""

    def command(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        output = Standard()
        monkeypatch.setattr(sys, "stdin", Standard(stdin))
        monkeypatch.setattr(sys, "stdout", output)
        code = main(arguments)
        return code, output.buffer.getvalue(), capsys.readouterr().err

    return command


def text_of(data: bytes, piece: int = 65_536, dialect: str = "pb") -> str:
    pieces = iter(cut(data, piece))
    return "".join(to_text(pieces, dialect=dialect, width=88, limits=FILE_LIMITS))


def bytes_of(text: str, dialect: str = "pb") -> bytes:
    return to_bytes(text, dialect=dialect, limits=FILE_LIMITS)


@given(expressions)
def test_round_trip_through_text(expression: SExp) -> None:
    data = PB.encode(expression)
    for stream in (data, data + data, MAGIC + data):
        text = text_of(stream)
        assert bytes_of(text) == stream
        assert text_of(bytes_of(text)) == text
    plain = Encoder(FILE_LIMITS).encode(expression)
    assert bytes_of(text_of(plain, dialect="none")) == plain


def test_text_of_bare_expressions(run: Any) -> None:
    data = PB.encode(MESSAGE) + PB.encode(5)
    assert run(stdin=data) == (0, f"{MESSAGE_TEXT}5\n".encode(), "")


def test_text_in_dialect_none(run: Any) -> None:
    data = Encoder().encode(MESSAGE)
    text = b'%dialect none\n("message" 1 "root" ("tuple" 2.5))\n'
    assert run("-d", "none", stdin=data) == (0, text, "")
    assert run("--encode", stdin=text) == (0, data, "")
    assert run("--encode", "-d", "none", stdin=text[14:]) == (0, data, "")


def test_text_of_a_file(run: Any, tmp_path: Path) -> None:
    data = MAGIC + PB.encode(MESSAGE)
    source = tmp_path / "data"
    source.write_bytes(data)
    text = f"%file 1\n{MESSAGE_TEXT}".encode()
    assert run(str(source)) == (0, text, "")
    assert run("-e", stdin=text) == (0, data, "")
    for piece in (1, 3, 5):
        assert text_of(data, piece).encode() == text


def test_text_of_a_file_of_format_2(run: Any) -> None:
    data = dumps({"due": [1, None]}) + dumps((2,))
    text = b'%file 2\n{"due": [1, null]}\n47536([2])\n'
    assert run(stdin=data) == (0, text, "")
    assert run("-e", stdin=text) == (0, data, "")
    for piece in (1, 3, 5):
        assert text_of(data, piece).encode() == text


def test_text_of_a_file_of_both_formats(run: Any) -> None:
    data = MAGIC + PB.encode(MESSAGE) + dumps(5) + dumps(6) + MAGIC + PB.encode(7)
    text = f"%file 1\n{MESSAGE_TEXT}%file 2\n5\n6\n%file 1\n7\n".encode()
    assert run(stdin=data) == (0, text, "")
    assert run("-e", stdin=text) == (0, data, "")


@pytest.mark.parametrize(
    ("data", "text", "complaint"),
    [
        (dumps([1, "two"])[:-1], "%file 2\n[1]\n", "byte 14: the value has no end"),
        (dumps(1) + dumps([2])[:-1], "%file 2\n1\n[]\n", "byte 20"),
        (dumps([1, None])[:-1] + b"\xf8", "%file 2\n[1]\n", "byte 12"),
        (dumps(1)[:5], "", "byte 0: the data ends within its first 8 bytes"),
        (dumps(5)[:-1] + b"\x61", "%file 2\n", "byte 10: the value has no end"),
    ],
)
def test_damage_in_format_2_is_shown_with_its_place(
    run: Any, data: bytes, text: str, complaint: str
) -> None:
    code, out, errors = run(stdin=data)
    assert code == 1
    assert complaint in errors
    assert out.decode().startswith(text)
    assert out.decode().splitlines()[-1].startswith("... byte")


def test_lines_of_errors_in_a_file_of_both_formats(run: Any) -> None:
    code, _, errors = run("-e", stdin=b"%file 1\n7\n%file 2\n[5\n")
    assert code == 1
    assert "line 5" in errors or "line 4" in errors


def test_output_to_a_file(run: Any, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert run("-o", str(output), stdin=PB.encode(MESSAGE)) == (0, b"", "")
    assert output.read_text() == MESSAGE_TEXT
    assert run("-e", "-o", str(output), stdin=b"(1)") == (0, b"", "")
    assert output.read_bytes() == b"\x01\x80\x01\x81"


def test_empty_input(run: Any) -> None:
    assert run() == (0, b"", "")
    assert run("-e") == (0, b"", "")
    assert run("-e", stdin=b"; nothing\n") == (0, b"", "")


def test_comments_and_the_directives_line(run: Any) -> None:
    for line in (b"%dialect pb\n", b"%dialect pb \r\n"):
        assert run("-e", "-d", "none", stdin=line + b"message") == (0, b"\x1a\x87", "")


def test_width_of_lines(run: Any) -> None:
    code, output, _ = run("-w", "20", stdin=PB.encode([b"x" * 100, 1, 2, 3]))
    assert code == 0
    assert max(map(len, output.split(b"\n"))) == 20


def test_output_is_utf_8(run: Any) -> None:
    assert run(stdin=PB.encode("é".encode()))[1] == '"é"\n'.encode()


def test_expressions_before_an_error_are_shown(run: Any) -> None:
    code, output, complaint = run(stdin=b"\x01\x81\x02\x81\x88")
    assert code == 1
    assert output == b"1\n2\n... byte 4: 0x88 is not a type byte\n"
    assert complaint == ("pb_banana: standard input: byte 4: 0x88 is not a type byte\n")


WHOLE = MAGIC + PB.encode([b"list", [b"tuple", 1, b"long string"], 2.5, 300])


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (WHOLE[:-1], '(list (tuple 1 "long string") 2.5)'),
        (WHOLE[:-5], '(list (tuple 1 "long string"))'),
        (WHOLE[:18], '(list (tuple 1 "lo"))'),
        (WHOLE[:8], "(list)"),
        (MAGIC + b"\x05\x82cut", '"cut"'),
        (WHOLE + WHOLE[:18], '(list (tuple 1 "lo"))'),
        (WHOLE[4:18], '(list (tuple 1 "lo"))'),
        (WHOLE[4:] + WHOLE[4:18], '(list (tuple 1 "lo"))'),
        (MAGIC + b"\x03\x80\x01\x81\x88\x01\x81", "(1)"),
        (b"\x03\x80\x01\x81\x88\x01\x81", "(1)"),
        (b"\x01\x81\x03\x80\x01\x81\x88\x01\x81", "(1)"),
    ],
)
@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_damaged_expression_is_shown_up_to_the_damage(
    run: Any, data: bytes, shown: str, piece: int
) -> None:
    code, output, complaint = run(stdin=data)
    assert code == 1
    lines = output.decode().splitlines()
    assert lines[-2] == shown
    assert lines[-1].startswith("... byte ")
    assert lines[-1][4:] in complaint
    # What is not all of it is not taken for all of it.
    assert run("-e", stdin=output)[0] == 1
    pieces = iter(cut(data, piece))
    text: list[str] = []
    with pytest.raises(BananaError):
        text.extend(to_text(pieces, dialect="pb", width=88, limits=FILE_LIMITS))
    assert "".join(text) == output.decode()


def test_file_of_several_values(run: Any) -> None:
    data = dumps([1]) + dumps("two") + dumps({})
    text = b'%file 2\n[1]\n"two"\n{}\n'
    assert run(stdin=data) == (0, text, "")
    assert run("-e", stdin=text) == (0, data, "")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x05", "byte 0: the expression has no end"),
        (b"\x01\x81\x02\x80\x01\x81", "byte 2: the expression has no end"),
        (b"\x20\x87", "byte 0: no word has the number 32"),
        (b"\x01\x80" * 2000, "byte 2000: over the limit of 1000 for depth: 1001"),
        (MAGIC, "byte 4: the value has no end"),
        (MAGIC[:2], "byte 0: the data ends within its first 4 bytes"),
        (
            MAGIC + b"\x01\x81\x01",
            "byte 6: the data does not begin with the magic bytes",
        ),
        (MAGIC + b"\x01\x81" + MAGIC, "byte 10: the value has no end"),
        (MAGIC + b"\x01\x81" + MAGIC + b"\x88", "byte 10: 0x88 is not a type byte"),
        (b"\x89PB\x02\x01\x81", "byte 3: version 2 of the format is not known here"),
        (b"\x89PNG\r\n", "byte 0: the data does not begin with the magic bytes"),
    ],
)
def test_exit_code_and_message_for_bad_data(
    run: Any, data: bytes, complaint: str
) -> None:
    code, _, said = run(stdin=data)
    assert code == 1
    assert said.startswith(f"pb_banana: standard input: {complaint}")
    assert len(said) < 300
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"(1\n2 hello)", "line 2, column 3: 'hello' is neither a number nor a known"),
        (b"%file 3\n1", "line 1 is neither '%file 1' or 2 nor a known dialect"),
        (b"%dialect pb2\n1", "line 1 is neither '%file 1' or 2 nor a known dialect"),
        (
            b"%dialect klingon\n1",
            "line 1 is neither '%file 1' or 2 nor a known dialect",
        ),
        (b"%file 1\n", "a file holds an expression at the least"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0"),
        (b"1" + b"0" * 20_000, "line 1, column 1: so long an integer must be"),
        (b"0x1" + b"0" * 20_000, "over the limit of 4096 for prefix_bytes: 11429"),
    ],
)
def test_exit_code_and_message_for_bad_text(
    run: Any, text: bytes, complaint: str
) -> None:
    code, output, said = run("-e", stdin=text)
    assert code == 1
    assert output == b""
    assert said.startswith(f"pb_banana: standard input: {complaint}")
    assert len(said) < 300


def test_errors_of_the_functions() -> None:
    with pytest.raises(IncompleteError):
        text_of(b"\x01")
    with pytest.raises(FormatError):
        text_of(b"\x89P\0\0")
    with pytest.raises(InvalidToken):
        text_of(b"\x01\x81\x88")
    with pytest.raises(NotationError):
        bytes_of("(")


def test_limits_from_the_command_line(run: Any) -> None:
    data = b"\x01\x80" * 3000 + b"\0\x80"
    assert run(stdin=data)[0] == 1
    code, output, _ = run("-l", "depth=4000", "-l", "nodes=4000", stdin=data)
    assert code == 0
    assert run("-e", stdin=output)[0] == 1
    assert run("-e", "--limit", "depth=3001", stdin=output) == (0, data, "")
    assert run("-l", "depth=3000", stdin=data)[0] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["-l", "depth"],
        ["-l", "depth=0"],
        ["-l", "depth=x"],
        ["-l", "height=5"],
        ["-w", "19"],
        ["-w", "wide"],
        ["-d", "pb2"],
        ["--what"],
        ["a", "b"],
    ],
)
def test_bad_arguments(run: Any, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2


def test_message_for_unusable_files(run: Any, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    code, _, complaint = run(str(missing))
    assert code == 1
    assert complaint.startswith(f"pb_banana: {missing}: ")
    assert run("-o", str(missing / "deeper"))[0] == 1


def test_input_is_not_overwritten(run: Any, tmp_path: Path) -> None:
    source = tmp_path / "data"
    source.write_bytes(b"\x01\x81")
    with pytest.raises(SystemExit) as caught:
        run(str(source), "-o", str(source))
    assert caught.value.code == 2
    assert source.read_bytes() == b"\x01\x81"


COMMAND = [sys.executable, "-m", "pb_banana"]


def test_command_in_a_process() -> None:
    ran = subprocess.run(
        COMMAND, input=PB.encode(MESSAGE), capture_output=True, check=True
    )
    assert ran.stdout.decode().replace("\r\n", "\n") == MESSAGE_TEXT
    ran = subprocess.run(COMMAND, input=b"\x88", capture_output=True, check=False)
    assert ran.returncode == 1
    assert b"Traceback" not in ran.stderr


def test_names_in_the_data_are_not_imported(tmp_path: Path) -> None:
    trap = tmp_path / "trap.py"
    trap.write_text(
        "import pathlib; pathlib.Path(__file__).with_suffix('.hit').touch()"
    )
    names: list[SExp] = [
        [b"module", b"trap"],
        [b"class", b"trap.Thing"],
        [b"function", b"trap.function"],
        [b"instance", [b"class", b"trap.Thing"], [b"dictionary"]],
        [b"trap.Thing", [b"dictionary"]],
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
    }
    for data in (PB.encode(names), MAGIC + PB.encode(names)):
        ran = subprocess.run(
            COMMAND, input=data, capture_output=True, check=True, env=environment
        )
        assert b'"trap.Thing"' in ran.stdout
        subprocess.run(
            [*COMMAND, "-e"],
            input=ran.stdout,
            capture_output=True,
            check=True,
            env=environment,
        )
    assert not trap.with_suffix(".hit").exists()


def test_closed_output_pipe() -> None:
    process = subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"\x01\x81")
    process.stdin.flush()
    # Shown as soon as it is complete, although more may come.
    assert process.stdout.readline().strip() == b"1"
    process.stdout.close()
    process.stdin.write(b"\x02\x81" * 10)
    process.stdin.close()
    assert process.stderr
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1
