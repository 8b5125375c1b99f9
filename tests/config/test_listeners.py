"""Endpoint strings: what is understood, what is refused, and that Twisted agrees."""

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from mensagod.config.listeners import parse_listener, tcp_listener
from mensagod.errors import BadValue

_REFUSED = (
    "",
    "2001",
    "tcp",
    "tcp:",
    "tcp:x",
    "tcp:65536",
    "tcp:-1",
    "tcp:1:interface=::1",
    "tcp:1:interface=eth0",
    "tcp:1:port=2",
    "tcp:1:colour=red",
    "tcp:1:127.0.0.1:50:x",
    "tcp:interface=127.0.0.1:2001",
    r"tcp6:2001:\:\:1",
    "tcp:1:backlog=many",
    "x=tcp:1",
    "udp:53",
    "tls:",
    "unix:",
    "unix:relative",
    "unix:/a\\",
    "unix:/a:address=/b",
    "ssl:1:privateKey=/a\\",
    "unix:/a:mode=999",
    "unix:/a:lockfile=2",
    "systemd:INET",
    "systemd:domain=INET:index=x",
    "systemd:domain=NET:index=0",
    "systemd:domain=INET:index=0:name=x",
    "tcp:1\n:127.0.0.1",
    "tcp:\u0661",
    "tcp:" + "0" * 2000,
)


class ListenerTests(SynchronousTestCase):
    """What :func:`parse_listener` promises."""

    def test_tcp(self) -> None:
        """Port and interface are found, by name or by position."""
        for text in (
            "tcp:2001:interface=127.0.0.1",
            "tcp:2001:127.0.0.1",
            "tcp:interface=127.0.0.1:port=2001",
        ):
            listener = parse_listener(text)
            self.assertEqual((listener.kind, listener.port, listener.interface), ("tcp", 2001, "127.0.0.1"))
            self.assertTrue(listener.is_local)
            self.assertFalse(listener.is_tls)
            self.assertEqual(listener.inner, text)

    def test_tls(self) -> None:
        """A tls listener is TLS over the same TCP endpoint."""
        listener = parse_listener(r"tls:2001:interface=2001\:db8\:\:1")
        self.assertEqual((listener.port, listener.interface), (2001, "2001:db8::1"))
        self.assertTrue(listener.is_tls)
        self.assertFalse(listener.is_local)
        self.assertEqual(listener.inner, r"tcp:2001:interface=2001\:db8\:\:1")

    def test_others(self) -> None:
        """Sockets of the file system and of systemd, and Twisted's own TLS, are understood."""
        self.assertEqual(parse_listener("unix:/run/a\\:b:mode=660").options["address"], "/run/a:b")
        self.assertTrue(parse_listener("unix:/run/a").is_local)
        self.assertFalse(parse_listener("systemd:domain=INET6:index=0").is_local)
        self.assertEqual(parse_listener("systemd:domain=INET:name=web").options["name"], "web")
        self.assertTrue(parse_listener("ssl:443:privateKey=/k.pem:certKey=/c.pem").is_tls)

    def test_local(self) -> None:
        """Only loopback addresses count as local; no interface means all of them."""
        for text, local in (("tcp:1", False), ("tcp:1:localhost", True), ("tcp:1:0.0.0.0", False)):
            self.assertEqual(parse_listener(text).is_local, local)

    def test_refused(self) -> None:
        """What is not an endpoint string is refused."""
        for text in _REFUSED:
            with self.assertRaises(BadValue, msg=text):
                parse_listener(text)

    def test_default(self) -> None:
        """Address and port make a plain listener, IPv6 included."""
        self.assertEqual(str(tcp_listener(ip_address("127.0.0.1"), 2001)), "tcp:2001:interface=127.0.0.1")
        six = tcp_listener(ip_address("::1"), 2001)
        self.assertEqual((str(six), six.interface), (r"tcp:2001:interface=\:\:1", "::1"))

    def test_twisted_understands(self) -> None:
        """What is accepted, Twisted makes an endpoint of."""
        for text in (r"tls:2001:interface=\:\:1", "tcp:0", "tcp6:2001", "unix:/run/a:mode=660:lockfile=0"):
            endpoint = serverFromString(MemoryReactor(), parse_listener(text).inner)
            self.assertTrue(hasattr(endpoint, "listen"))

    @settings(max_examples=200, deadline=None)
    @given(
        st.one_of(st.text(max_size=40), st.from_regex(r"(tcp|tls|unix|systemd):[\w:=\\./]*", fullmatch=True))
    )
    def test_anything(self, text: str) -> None:
        """Any text is a listener or a :class:`BadValue`; what is accepted reads the same again."""
        try:
            listener = parse_listener(text)
        except BadValue:
            return
        self.assertEqual(parse_listener(str(listener)), listener)
        self.assertIn(listener.is_local, (True, False))

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(("tcp", "tcp6", "tls")),
        st.lists(
            st.sampled_from(
                ("0", "2001", "127.0.0.1", r"\:\:1", "port=7", "interface=::1", "backlog=9", "=", "\\", "x=1")
            ),
            max_size=4,
        ),
    )
    def test_agreement(self, kind: str, arguments: list[str]) -> None:
        """Twisted listens where we say that it would, for every string that we accept."""
        try:
            listener = parse_listener(":".join([kind, *arguments]))
        except BadValue:
            return
        reactor = MemoryReactor()
        self.successResultOf(serverFromString(reactor, listener.inner).listen(Factory()))
        [(port, _, _, interface)] = reactor.tcpServers
        everywhere = "::" if kind == "tcp6" else ""
        self.assertEqual((port, interface), (listener.port, listener.options.get("interface", everywhere)))

    def test_place_after_name(self) -> None:
        """After an argument with a name there is none without: Twisted would count its place differently."""
        for text in ("tcp6:port=7:9", "tcp:port=7:9", "tcp6:backlog=9:2001"):
            self.assertRaises(BadValue, parse_listener, text)

    @settings(max_examples=100, deadline=None)
    @given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=30))
    def test_quoted(self, name: str) -> None:
        """A text that Twisted quoted comes back as one argument."""
        listener = parse_listener(f"unix:address={quoteStringArgument('/' + name)}")
        self.assertEqual(listener.options["address"], "/" + name)
