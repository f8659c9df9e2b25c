# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""TLS: to the client and to the backend"""
import re
import socket
import ssl

import pytest

from fake.peer import Peer
from harness.certs import Authority
from harness.conf import backend
from harness.imap import Imap, b64, plain, tls_context

V = ssl.TLSVersion


@pytest.fixture
def w(weir, conf, mail):
    return weir(conf(backend("d1", mail.d1.plain)))


def server_context(cert, ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, cert))
    if ca:
        context.load_verify_locations(str(ca.cert))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


# towards the client

def test_implicit_and_verified(w, ca, user):
    with Imap(w.imaps, tls=tls_context(ca.cert), name="mail.test") as c:
        assert c.sock.version() == "TLSv1.3"
        c.login(user)


def test_starttls(w, ca, user):
    with Imap(w.imap) as c:
        words = c.capability()
        assert "STARTTLS" in words and "LOGINDISABLED" in words
        assert not [word for word in words if word.startswith("AUTH=")]
        c.ok("STARTTLS")
        c.start_tls(tls_context(ca.cert), "mail.test")
        words = c.capability()
        assert "STARTTLS" not in words and "LOGINDISABLED" not in words
        assert "AUTH=PLAIN" in words
        assert c.command("STARTTLS")[1].startswith("BAD")
        c.login(user)


def test_no_login_without_tls(w, user):
    with Imap(w.imap) as c:
        _, reply = c.command(f"LOGIN {user} secret")
        assert reply.startswith("NO [PRIVACYREQUIRED]"), reply
        _, reply = c.command("AUTHENTICATE PLAIN " + plain(user))
        assert reply.startswith("NO"), reply
    w.wait_log(event="close")
    assert "secret" not in w.log()


def test_starttls_injection_from_the_client(w, user):
    """What came before TLS in one packet with STARTTLS is never obeyed."""
    with Imap(w.imap) as c:
        c.send("a STARTTLS\r\nb NOOP\r\nc LOGOUT\r\n")
        assert c.line().startswith("a OK")
        c.start_tls()
        c.send("d NOOP\r\n")
        assert c.line().startswith("d OK")


@pytest.mark.parametrize("extra", [
    "* OK [ALERT] injected\r\n", "* PREAUTH injected\r\n",
    "L OK Logged in\r\n"])
def test_starttls_injection_from_the_backend(weir, conf, backend_cert, user,
                                             extra):
    """What a man in the middle says behind the backend's OK to STARTTLS does
    not reach the client, nor count."""
    def script(c):
        c.greet("IMAP4rev1 STARTTLS ID LITERAL+ AUTH=PLAIN SASL-IR")
        tag, name, _ = c.command()
        while name != "STARTTLS":
            c.reply(tag, "OK done")
            tag, name, _ = c.command()
        c.send(f"{tag} OK begin\r\n{extra}")
        c.start_tls()
        c.login()
        c.serve()

    with Peer(script, tls=server_context(backend_cert)) as peer:
        w = weir(conf(backend("fake", peer.port,
                              "tls = starttls\n  verify = no")))
        with Imap(w.imaps, tls=True) as c:
            untagged, reply = c.command(f"LOGIN {user} secret")
            assert reply.startswith(("NO [UNAVAILABLE]", "NO [SERVERBUG]",
                                     "OK"))
            assert b"injected" not in b"".join(untagged)
        for connection in peer.connections:
            # a login behind the injection is one under TLS
            assert isinstance(connection.sock, ssl.SSLSocket) or \
                connection.user is None


def test_backend_preauth_before_tls_is_refused(weir, conf, backend_cert, user):
    def script(c):
        c.send("* PREAUTH [CAPABILITY IMAP4rev1] come in\r\n")
        c.hang()

    with Peer(script, tls=server_context(backend_cert)) as peer:
        w = weir(conf(backend("fake", peer.port,
                              "tls = starttls\n  verify = no")))
        with Imap(w.imaps, tls=True) as c:
            _, reply = c.command(f"LOGIN {user} secret")
            assert reply.startswith("NO [")


def test_backend_without_starttls_gets_no_password(weir, conf, user):
    def script(c):
        c.greet("IMAP4rev1 AUTH=PLAIN LITERAL+ ID")
        c.serve()

    with Peer(script) as peer:
        w = weir(conf(backend("fake", peer.port,
                              "tls = starttls\n  verify = no")))
        with Imap(w.imaps, tls=True) as c:
            _, reply = c.command(f"LOGIN {user} topsecret")
            assert reply.startswith("NO [")
        said = "\n".join("\n".join(c.said) for c in peer.connections)
        assert "topsecret" not in said and plain(user, "topsecret") not in said


@pytest.mark.parametrize("version,good", [
    (V.TLSv1, False), (V.TLSv1_1, False), (V.TLSv1_2, True),
    (V.TLSv1_3, True)])
def test_versions(w, user, version, good):
    context = tls_context(minimum=version, maximum=version)
    if not good:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            Imap(w.imaps, tls=context)
        line = w.wait_log(event="close", reason="tls-failed")
        assert line["blame"] == "client"
        return
    with Imap(w.imaps, tls=context) as c:
        c.login(user)
        c.ok("LOGOUT")
    line = w.wait_log(event="close", user=user)
    assert line["tls"] == c.sock.version() or line["tls"].startswith("TLSv1.")


def test_min_version_1_3(weir, conf, mail):
    w = weir(conf(backend("d1", mail.d1.plain), tls="min_version = 1.3"))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Imap(w.imaps, tls=tls_context(maximum=V.TLSv1_2, minimum=V.TLSv1_2))
    Imap(w.imaps, tls=True).close()


def test_alpn(w):
    with Imap(w.imaps, tls=tls_context(alpn=["imap"])) as c:
        assert c.sock.selected_alpn_protocol() == "imap"
    with Imap(w.imaps, tls=True) as c:
        assert c.sock.selected_alpn_protocol() is None
    # a browser on the mail port (ALPACA) does not get through
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Imap(w.imaps, tls=tls_context(alpn=["h2", "http/1.1"]))


def test_sni_chooses_the_certificate(weir, conf, mail, ca):
    other = ca.issue("other.test", "DNS:other.test", "DNS:*.wild.test")
    w = weir(conf(backend("d1", mail.d1.plain), certificates="front, other",
                  more=f'tls other {{\n  certificate = "{other[0]}"\n'
                  f'  key = "{other[1]}"\n}}\n'))
    for name, subject in (("mail.test", "mail.test"),
                          ("other.test", "other.test"),
                          ("a.wild.test", "other.test"),
                          ("OTHER.test", "other.test"),
                          ("unknown.test", "mail.test"),
                          (None, "mail.test")):
        with Imap(w.imaps, tls=tls_context(ca.cert), name=name) as i:
            cert = i.sock.getpeercert()
            assert dict(x[0] for x in cert["subject"])["commonName"] == \
                subject, name


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
def test_tickets_resume_on_any_worker(weir, conf, mail, version):
    """Ten connections spread over the workers: all resume one session."""
    w = weir(conf(backend("d1", mail.d1.plain), workers=3))
    context = tls_context(minimum=version, maximum=version)
    with Imap(w.imaps, tls=context) as c:
        c.ok("NOOP")
        session = c.sock.session
        assert session.has_ticket
    for _ in range(10):
        with Imap(w.imaps, tls=context, session=session) as c:
            c.ok("NOOP")
            assert c.sock.session_reused


def test_close_notify_is_sent_and_understood(w, user):
    """A client that reads to the end sees an end, not a cut."""
    context = tls_context()
    with Imap(w.imaps, tls=context) as c:
        c.login(user)
        c.send("z LOGOUT\r\n")
        c.finish("z")
        # suppress_ragged_eofs hides a missing close_notify: look below it
        with pytest.raises((ssl.SSLZeroReturnError, ssl.SSLEOFError)) as e:
            while c.sock._sslobj.read(4096):
                pass
            raise ssl.SSLZeroReturnError
        assert not isinstance(e.value, ssl.SSLEOFError)
    with Imap(w.imaps, tls=context) as c:
        c.login(user)
        c.sock.unwrap()
    w.wait_log(event="close", user=user, count=2)


def test_plain_text_on_the_tls_port(w):
    with socket.create_connection(("127.0.0.1", w.imaps), timeout=20) as s:
        s.sendall(b"a LOGIN jan secret\r\n")
        while s.recv(4096):
            pass
    w.wait_log(event="close", reason="tls-failed")
    assert "secret" not in w.log()


def test_client_certificate_external(weir, conf, mail, ca, user, tmp):
    """EXTERNAL with a certificate of the right authority, as master user."""
    (tmp / "master").write_text("master-secret\n")
    w = weir(conf(
        backend("d1", mail.d1.plain), tls=f'client_ca = "{ca.cert}"',
        auth="mechanisms = { PLAIN, EXTERNAL }\n  backend_login = master\n"
        f'  master_user = master\n  master_password_file = "{tmp}/master"'))
    mine = ca.issue("client", f"email:{user}", client=True)
    with Imap(w.imaps, tls=tls_context(cert=mine)) as c:
        assert "AUTH=EXTERNAL" in c.capability()
        c.send("t AUTHENTICATE EXTERNAL =\r\n")
        assert c.finish("t")[1].startswith("OK")
        c.ok("SELECT INBOX")
    mail.d1.wait_log(rf"Login: user=<{user}>")
    # somebody else's name
    with Imap(w.imaps, tls=tls_context(cert=mine)) as c:
        c.send("t AUTHENTICATE EXTERNAL "
               + b64("user399@example.org") + "\r\n")
        assert c.finish("t")[1].startswith("NO")
    # no certificate: not offered, and refused
    with Imap(w.imaps, tls=True) as c:
        assert "AUTH=EXTERNAL" not in c.capability()
        assert not c.command("AUTHENTICATE EXTERNAL =")[1].startswith("OK")
    # somebody else's authority
    alien = Authority(tmp / "alien", "Alien CA").issue(
        "client", f"email:{user}", client=True)
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        with Imap(w.imaps, tls=tls_context(cert=alien)) as c:
            assert "AUTH=EXTERNAL" not in c.capability()
            raise EOFError


# towards the backend

@pytest.mark.parametrize("way", ["starttls", "implicit"])
def test_backend_verified(weir, conf, mail, ca, user, way):
    port = mail.d1.plain if way == "starttls" else mail.d1.tls
    w = weir(conf(backend("d1", port, f'tls = {way}\n  ca = "{ca.cert}"\n'
                          "  client_info = id")))
    with Imap(w.imaps, tls=True) as c:
        c.login(user)
        c.ok("SELECT INBOX")
    assert re.search(r"TLS|secured", mail.d1.wait_login(user))


@pytest.mark.parametrize("name,good", [
    ("backend.test", True), ("127.0.0.1", True), ("wrong.test", False),
    ("127.0.0.2", False)])
def test_backend_name_is_checked(weir, conf, mail, ca, user, name, good):
    w = weir(conf(backend("d1", mail.d1.tls, "tls = implicit\n"
                          f'  ca = "{ca.cert}"\n  tls_name = "{name}"')))
    with Imap(w.imaps, tls=True) as c:
        _, reply = c.command(f"LOGIN {user} secret")
        if good:
            assert reply.startswith("OK")
        else:
            assert reply.startswith("NO [UNAVAILABLE]")
            assert mail.d1.logins(user) == []
            # the check has found it, or this login
            w.wait_log(event=re.compile("backend_failed|backend_state"),
                       backend="d1", why=re.compile("mismatch"))


def test_backend_of_another_authority_is_refused(weir, conf, mail, user, tmp):
    alien = Authority(tmp / "alien", "Alien CA")
    w = weir(conf(backend("d1", mail.d1.tls, "tls = implicit\n"
                          f'  ca = "{alien.cert}"')))
    with Imap(w.imaps, tls=True) as c:
        _, reply = c.command(f"LOGIN {user} secret")
        assert reply.startswith("NO [UNAVAILABLE]")
    assert mail.d1.logins(user) == []


def test_client_certificate_to_the_backend(weir, conf, ca, backend_cert,
                                           user):
    cert = ca.issue("proxy.test", "DNS:proxy.test", client=True)
    seen = []

    def script(c):
        seen.append(c.sock.getpeercert())
        c.greet()
        c.login()
        c.serve()

    with Peer(script, tls=server_context(backend_cert, ca),
              implicit=True) as peer:
        w = weir(conf(backend(
            "fake", peer.port, f'tls = implicit\n  ca = "{ca.cert}"\n'
            f'  certificate = "{cert[0]}"\n  key = "{cert[1]}"')))
        with Imap(w.imaps, tls=True) as c:
            c.login(user)
    assert ("DNS", "proxy.test") in seen[0]["subjectAltName"]


@pytest.mark.parametrize("version", [V.TLSv1_2, V.TLSv1_3])
def test_backend_sessions_are_resumed(weir, conf, ca, backend_cert, user,
                                      version):
    reused = []

    def script(c):
        c.greet()
        c.login()
        reused.append(c.sock.session_reused)
        c.serve()

    context = server_context(backend_cert)
    context.minimum_version = context.maximum_version = version
    with Peer(script, tls=context, implicit=True) as peer:
        w = weir(conf(backend("fake", peer.port, "tls = implicit\n"
                              f'  ca = "{ca.cert}"'), workers=1))
        for _ in range(4):
            with Imap(w.imaps, tls=True) as c:
                c.login(user)
                c.ok("LOGOUT")
    assert reused[0] is False and reused[-1] is True, reused
