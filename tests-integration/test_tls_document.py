"""Commands and programs of the document on TLS."""

from __future__ import annotations

import asyncio
import gc
import re
import shutil
import socket
import ssl as std_ssl
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trustme
from OpenSSL import SSL
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.internet.endpoints import (
    HostnameEndpoint,
    SSL4ServerEndpoint,
    clientFromString,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.trial.unittest import TestCase

from documented_servers import serving, visit
from pb_cred import asyncio as pb_asyncio
from pb_cred import pb
from pb_cred.certificates import ClientCertificates, OwnCertificate
from programs import PATIENCE

TEXT = (Path(__file__).parents[1] / "docs" / "tls.md").read_text("utf-8")

PROGRAMS = dict(
    re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
)

#: How Twisted hands certificates that it was given to pyOpenSSL.
TWISTED = "Passing pyOpenSSL"

pytestmark = pytest.mark.filterwarnings(f"ignore:{TWISTED}:DeprecationWarning")


def section(heading: str) -> str:
    """Return the text under a heading."""
    (text,) = re.findall(
        rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL
    )
    return str(text)


def blocks(kind: str, text: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shell(commands: str, folder: Path) -> None:
    subprocess.run(
        ["sh", "-ec", commands],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        check=True,
    )


def load(name: str) -> Any:
    """Return the definitions of a program of the document."""
    found: dict[str, Any] = {}
    exec(PROGRAMS[name], found)
    return found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which certificates were made to try things with."""
    folder = tmp_path_factory.mktemp("tries")
    (commands,) = blocks("sh", section("A certificate to try things with"))
    install, rest = commands.split("\n", 1)
    assert install == "pip install trustme"
    shell(rest.replace("python ", f"{sys.executable} -W error "), folder)
    return folder


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a new authority and its certificates."""
    version = shutil.which("openssl") and subprocess.check_output(
        ["openssl", "version"], text=True
    )
    if not version or not re.match(r"OpenSSL [3-9]\.", version):
        pytest.skip("OpenSSL 3 is not installed: apt-get install openssl")
    folder = tmp_path_factory.mktemp("authority")
    text = section("An authority of your own")
    (configuration,) = blocks("ini", text)
    (folder / "authority.cnf").write_text(configuration, "utf-8")
    for commands in blocks("sh", text):
        shell(commands, folder)
    return folder


def says(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("server", ["asyncio_server", "twisted_server"])
def test_client_on_asyncio(server: str, certificates: Path) -> None:
    with serving(PROGRAMS[server], certificates) as port:
        ran = visit(PROGRAMS["asyncio_client"], port, certificates)
    assert says(ran) == "hello world\n"


@pytest.mark.parametrize(
    ("server", "version"),
    [("asyncio_server", "TLSv1.2"), ("twisted_server", None)],
)
def test_least_version_of_tls(
    server: str, version: str | None, certificates: Path
) -> None:
    context = std_ssl.create_default_context(
        cafile=str(certificates / "certificates" / "client.pem")
    )
    context.maximum_version = std_ssl.TLSVersion.TLSv1_2

    def agreed(port: str) -> str | None:
        plain = socket.create_connection(("127.0.0.1", int(port)))
        with plain, context.wrap_socket(plain, server_hostname="localhost") as secure:
            return secure.version()

    with serving(PROGRAMS[server], certificates) as port:
        if version is None:
            with pytest.raises(std_ssl.SSLError, match="PROTOCOL_VERSION"):
                agreed(port)
        else:
            assert agreed(port) == version


def test_logins_with_certificates(authority: Path) -> None:
    with serving(PROGRAMS["notes_server"], authority) as port:
        ran = visit(PROGRAMS["notes_client"], port, authority, TWISTED)
        without = PROGRAMS["notes_client"].replace("{SERVER}:{ALICE}", "{SERVER}")
        refused = visit(without, port, authority)
    assert f"It says `{says(ran).strip()}`." in TEXT
    assert (refused.stdout, refused.returncode) == ("", 1)


def test_logins_with_certificates_and_passwords(authority: Path) -> None:
    text = section("Users with certificates")
    required = "CertificateOptions(trustRoot=trustRootFromCertificates([authority]))"
    (options,) = re.findall(r"`(CertificateOptions\(verify=.*?\))`", text)
    (mechanisms,) = re.findall(r"the server's mechanisms `(\[.*?\])`", text)
    server, client = PROGRAMS["notes_server"], PROGRAMS["notes_client"]
    for shown, instead in [
        (required, options),
        ("[users]", mechanisms),
        ("Portal(pb.Realm(Notes))", "Portal(pb.Realm(Notes), [Users(bob=b'word')])"),
    ]:
        assert server.count(shown) == 1
        server = server.replace(shown, instead)
    checker = "InMemoryUsernamePasswordDatabaseDontUse as Users"
    server = f"from twisted.cred.checkers import {checker}\n{server}"
    bob = client.replace("{SERVER}:{ALICE}", "{SERVER}")
    bob = bob.replace("OwnCertificate()", "UsernamePassword(b'bob', b'word')")
    bob = f"from twisted.cred.credentials import UsernamePassword\n{bob}"
    with serving(server, authority) as port:
        ran = visit(client, port, authority, TWISTED)
        assert says(ran) == "alice, by EXTERNAL\n"
        ran = visit(bob, port, authority)
        assert says(ran) == "bob, by SCRAM-SHA-256-PLUS\n"


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_logins_with_certificates_on_asyncio(
    authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(authority)
    contexts = load("asyncio_contexts")

    class Notes(pb.Avatar):
        def perspective_whoAmI(self) -> tuple[Any, str]:
            return self.avatarId, pb.session_of(self).mechanism

    async def test() -> None:
        server = pb.PBServerFactory(
            Portal(pb.Realm(Notes)), mechanisms=[ClientCertificates("ca.pem")]
        )
        serves, alice = contexts["for_the_server"](), contexts["for_alice"]()
        here: Any = {"server_hostname": "localhost", "credentials": OwnCertificate()}
        async with (
            pb_asyncio.serve("tcp:0:interface=127.0.0.1", server, ssl=serves) as port,
            pb_asyncio.client(f"tcp:127.0.0.1:{port.port}", ssl=alice, **here) as notes,
        ):
            assert await notes.callRemote("whoAmI") == (b"alice", "EXTERNAL")

    asyncio.run(test())
    # Until Python 3.11, asyncio does not see that what the peer has closed is closed.
    gc.collect()


def test_user_certificate_is_refused_as_a_servers(authority: Path) -> None:
    for name, purpose in [("alice.pem", "sslserver"), ("server.pem", "sslclient")]:
        ran = subprocess.run(
            ["openssl", "verify", "-CAfile", "ca.pem", "-purpose", purpose, name],
            cwd=authority,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode != 0
        assert "unsuitable certificate purpose" in ran.stderr


@pytest.mark.parametrize(
    ("asked", "trusted", "said"),
    [
        ("localhost", "ca.pem", "Verification: OK"),
        ("localhost", "alice.pem", "unable to get local issuer certificate"),
        ("example.org", "ca.pem", "hostname mismatch"),
    ],
)
def test_documented_errors(
    asked: str, trusted: str, said: str, authority: Path
) -> None:
    text = section("Errors")
    assert f"`{said}`" in text
    (command,) = blocks("console", text)
    assert command.startswith("$ openssl s_client ")
    server = PROGRAMS["twisted_server"].replace("certificates/", "")
    with serving(server, authority) as port:
        for shown, instead in [
            ("-connect pb.example.org:8787", f"-connect 127.0.0.1:{port}"),
            ("-verify_hostname pb.example.org", f"-verify_hostname {asked}"),
            ("-CAfile ca.pem", f"-CAfile {trusted} -no-CApath -no-CAstore"),
        ]:
            assert command.count(shown) == 1
            command = command.replace(shown, instead)
        ran = subprocess.run(
            ["sh", "-c", command.removeprefix("$ ")],
            cwd=authority,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert said in ran.stdout.decode("latin-1")


def test_documented_descriptions_of_endpoints(
    authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(authority)
    (authority / "certificates").mkdir(exist_ok=True)
    for copy, name in [("privkey", "server.key"), ("cert", "server.pem")]:
        shutil.copy(name, f"{copy}.pem")
    shutil.copy("ca.pem", "chain.pem")
    shown = re.findall(r"^\| `((\w+):[^`]*)` \|", section("On Twisted's reactor"), re.M)
    assert [kind for _, kind in shown] == ["ssl", "ssl", "tls", "tls", "tls"]
    for description, kind in shown:
        parse: Any = serverFromString if kind == "ssl" else clientFromString
        parse(reactor, description)


class RenewingTests(TestCase):
    """Tests of a server whose certificate changes."""

    timeout = PATIENCE

    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.chain = Path(folder.name, "chain.pem")
        self.key = Path(folder.name, "key.pem")

    def make(self) -> trustme.CA:
        """Write a certificate for the server; return the authority that it is from."""
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        self.key.write_bytes(issued.private_key_pem.bytes())
        (certificate,) = issued.cert_chain_pems
        self.chain.write_bytes(certificate.bytes())
        return authority

    async def is_trusted(self, port: Any, authority: trustme.CA) -> bool:
        root = Certificate.loadPEM(authority.cert_pem.bytes())
        tls = optionsForClientTLS("localhost", trustRoot=root)
        there = HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
        try:
            async with pb.client(wrapClientTLS(tls, there)):
                return True
        except pb.DeadReferenceError:
            return False

    async def test_renewed_certificate_is_used(self) -> None:
        old = self.make()
        tls = load("renewing")["Renewing"](str(self.chain), str(self.key))
        endpoint = SSL4ServerEndpoint(reactor, 0, tls, interface="127.0.0.1")
        async with pb.serve(endpoint, pb.Root()) as port:
            assert await self.is_trusted(port, old)
            new = self.make()
            assert not await self.is_trusted(port, new)
            tls.read()
            assert await self.is_trusted(port, new)
            assert not await self.is_trusted(port, old)
            self.key.write_text("no key")
            with pytest.raises(SSL.Error):
                tls.read()
            assert await self.is_trusted(port, new)


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
def test_renewed_certificate_is_used_on_asyncio() -> None:
    authorities = [trustme.CA(), trustme.CA()]
    serves = std_ssl.create_default_context(std_ssl.Purpose.CLIENT_AUTH)

    async def test() -> None:
        async with pb_asyncio.serve(
            "tcp:0:interface=127.0.0.1", pb.Root(), ssl=serves
        ) as server:
            for authority in authorities:
                # The context's load_cert_chain, with a file that goes away.
                authority.issue_cert("127.0.0.1").configure_cert(serves)
                pem = authority.cert_pem.bytes().decode()
                trusting = std_ssl.create_default_context(cadata=pem)
                async with pb_asyncio.client(
                    f"tcp:127.0.0.1:{server.port}", ssl=trusting
                ):
                    pass

    asyncio.run(test())
    gc.collect()


def test_all_programs_are_run() -> None:
    assert TEXT.count("```python") == len(PROGRAMS)
    assert set(PROGRAMS) == {
        "asyncio_client",
        "asyncio_contexts",
        "asyncio_server",
        "notes_client",
        "notes_server",
        "renewing",
        "twisted_server",
    }
