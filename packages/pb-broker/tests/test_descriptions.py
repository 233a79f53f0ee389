"""Descriptions of endpoints for asyncio."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from pb_broker._endpoints.descriptions import client_location, server_location


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("tcp:example.org:8787", {"host": "example.org", "port": 8787}),
        ("tcp:host=example.org:port=8787", {"host": "example.org", "port": 8787}),
        ("tcp:port=1:host=h", {"host": "h", "port": 1}),
        (r"tcp:\:\:1:80", {"host": "::1", "port": 80}),
        ("tcp:h:1:5", {"host": "h", "port": 1, "timeout": 5}),
        (
            "tcp:h:1:bindAddress=127.0.0.1",
            {"host": "h", "port": 1, "local_addr": ("127.0.0.1", 0)},
        ),
        ("unix:/run/socket", {"path": "/run/socket"}),
        (r"unix:/run/a\:b=c", {"path": "/run/a:b=c"}),
        ("unix:path=/run/a=b:timeout=5", {"path": "/run/a=b", "timeout": 5}),
    ],
)
def test_descriptions_of_client_endpoints(
    description: str, expected: dict[str, Any]
) -> None:
    if description == r"unix:/run/a\:b=c":
        description = r"unix:/run/a\:b\=c"
    assert client_location(description, None) == {**expected, "ssl": None}


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("tcp:8787", {"host": "0.0.0.0", "port": 8787}),
        ("tcp:0:interface=127.0.0.1", {"host": "127.0.0.1", "port": 0}),
        (r"tcp:1:\:\:", {"host": "::", "port": 1}),
        ("tcp:1:backlog=5", {"host": "0.0.0.0", "port": 1, "backlog": 5}),
        ("unix:/run/socket", {"path": "/run/socket"}),
    ],
)
def test_descriptions_of_server_endpoints(
    description: str, expected: dict[str, Any]
) -> None:
    assert server_location(description, None) == {**expected, "ssl": None}


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("", "no prefix ''"),
        ("localhost:8787", "no prefix 'localhost'"),
        ("haproxy:tcp:8787", "no prefix 'haproxy' on asyncio, but tcp:"),
        ("TCP:h:1", "no prefix 'TCP'"),
        ("tcp:h", "port is missing"),
        ("tcp::1", "host is missing"),
        ("tcp:h:http", "port is a number, not 'http'"),
        ("tcp:h:-1", "port is a number"),
        ("tcp:h:1:timeout=soon", "timeout is a number"),
        ("tcp:h:1:5:a:b", "'b' needs a name"),
        ("tcp:h:1:port=2", "port is there twice"),
        ("tcp:h:1:nosuch=b", "'nosuch' is no argument of tcp"),
        ("tls:h:1:endpoint=tcp", "'endpoint' is no argument of tls"),
        ("unix:/run/socket:lockfile=1", "'lockfile' is no argument of unix"),
        ("x\n\x1b[31m:1", r"x\\n\\x1b\[31m"),
        ("tls:h:1:trustRoots=/nowhere", "does not exist"),
    ],
)
def test_malformed_description_of_a_client_endpoint_is_refused(
    description: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        client_location(description, None)
    assert "\n" not in str(raised.value)
    assert "/nowhere" in description or (
        'as for Twisted\'s reactor, "tls:example.org:8787")' in str(raised.value)
    )


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("ssl:8787", "privateKey is missing"),
        ("tcp:host:1", "port is a number, not 'host'"),
        ("ssl:1:privateKey=k:sslmethod=TLSv1", "'sslmethod' is no argument of ssl"),
        ("unix:/s:mode=600", "'mode' is no argument of unix"),
        ("systemd:domain=INET", "no prefix 'systemd'"),
    ],
)
def test_malformed_description_of_a_server_endpoint_is_refused(
    description: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        server_location(description, None)
    assert "as for Twisted's reactor, \"ssl:8787:" in str(raised.value)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Return a directory with an authority, and a certificate of it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "client.pem")
    own = authority.issue_cert("localhost")
    own.private_key_pem.write_to_path(tmp_path / "server.key")
    for number, each in enumerate(own.cert_chain_pems):
        each.write_to_path(tmp_path / "server.pem", append=number > 0)
    return tmp_path


@pytest.mark.parametrize("prefix", ["tls", "ssl"])
def test_tls_context_of_a_description(prefix: str, certificates: Path) -> None:
    keys = f"privateKey={certificates}/server.key:certKey={certificates}/server.pem"
    server = server_location(f"{prefix}:0:{keys}", None)["ssl"]
    assert isinstance(server, ssl.SSLContext)
    roots = "trustRoots" if prefix == "tls" else "caCertsDir"
    where = f"{prefix}:localhost:1:{roots}={certificates}"
    client = client_location(where, None)["ssl"]
    assert client.verify_mode is ssl.CERT_REQUIRED
    assert client.check_hostname
    # Of the files: the authority, and the server's own certificate.
    assert client.cert_store_stats()["x509"] == 2
    usual = client_location(f"{prefix}:localhost:1", None)["ssl"]
    assert usual.verify_mode is ssl.CERT_REQUIRED
    assert usual.check_hostname


def test_chain_of_a_server_may_be_in_a_file_of_its_own(certificates: Path) -> None:
    keys = f"privateKey={certificates}/server.key:certKey={certificates}/server.pem"
    more = f"extraCertChain={certificates}/client.pem"
    assert server_location(f"ssl:0:{keys}:{more}", None)["ssl"] is not None
    with pytest.raises(FileNotFoundError, match="none"):
        server_location(f"ssl:0:{keys}:extraCertChain={certificates}/none", None)


def test_certificate_of_a_client(certificates: Path) -> None:
    own = f"certificate={certificates}/server.pem:privateKey={certificates}/server.key"
    assert client_location(f"tls:localhost:1:{own}", None)["ssl"] is not None


def test_given_context_replaces_the_descriptions(tmp_path: Path) -> None:
    context = ssl.create_default_context()
    for where in ("tls:h:1", f"tls:h:1:trustRoots={tmp_path}", "tcp:h:1", "unix:/s"):
        assert client_location(where, context)["ssl"] is context
    for where in ("ssl:1", "tls:1", "tcp:1", f"ssl:1:privateKey={tmp_path}/none"):
        assert server_location(where, context)["ssl"] is context
    assert client_location("tcp:h:1", True)["ssl"] is True


def test_unreadable_file_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.key"):
        server_location(f"ssl:1:privateKey={tmp_path}/none.key", None)
    with pytest.raises(FileNotFoundError, match=r"none\.pem"):
        client_location(f"tls:h:1:certificate={tmp_path}/none.pem", None)


def test_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "some.pem").write_text("nothing")
    with pytest.raises(ValueError, match="is not usable"):
        server_location(f"ssl:1:privateKey={tmp_path}/some.pem", None)
    with pytest.raises(ValueError, match=r"some\.pem has no certificate to trust"):
        client_location(f"tls:h:1:trustRoots={tmp_path}", None)
