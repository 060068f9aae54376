"""What the demonstration can put around or behind its TCP connection.

TLS, a web proxy, or both; or a relay before a responder that has only UDP. Whoever
builds the stage imports this, may have one thread only, and gets more from libraries
below; so the certificates are made elsewhere.

Source: RFC 9329 App. A, RFC 9329 §2
"""

from dataclasses import dataclass, replace

from iketcp.demo.scenery import EAST, LOOPBACK, WEST, Addresses

TLS_FOLDER = "tls"
"""Has what `iketcp tls new` makes."""


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What is between the peers besides TCP. RFC 9329 App. A."""

    is_tls: bool = False
    has_proxy: bool = False
    has_relay: bool = False
    """The responder speaks UDP, and a relay speaks TCP for it."""

    @property
    def about(self) -> str:
        """A sentence for who watches; empty where there is nothing to say."""
        way = {
            (True, False): "TLS",
            (False, True): "a web proxy (HTTP CONNECT)",
            (True, True): "TLS, and a web proxy (HTTP CONNECT)",
        }.get((self.is_tls, self.has_proxy))
        text = f"West goes to east through {way}." if way else ""
        if self.has_relay:
            text += " East's peer has only UDP; a relay before it has TCP."
        return text.strip()

    def tables(self, site: str, where: Addresses) -> str:
        """Write the tables of a site's configuration."""
        text = ""
        if self.is_tls:
            keys = {
                WEST: f'ca = "{TLS_FOLDER}/ca.pem"\n',
                EAST: f'certificate = "{TLS_FOLDER}/server.pem"\n'
                f'private_key = "{TLS_FOLDER}/server.key"\n',
            }
            text += f"\n[tls]\nport = {where.tls_port}\n{keys[site]}"
        if self.has_proxy and site == WEST:
            text += f'\n[proxy]\naddress = "{where.proxy}"\nport = {where.proxy_port}\n'
        if self.has_relay and site == EAST:
            text += (
                '\n[transport]\nprotocol = "udp"\n'
                f'[udp]\nike_port = "any"\nencapsulation_port = {where.udp_port}\n'
            )
        return text

    def seen_from(self, site: str, where: Addresses) -> Addresses:
        """Return the addresses as a site's configuration names them."""
        if self.has_relay and site == EAST:
            return replace(where, responder=LOOPBACK)
        return where

    def relay_options(self, where: Addresses) -> list[str]:
        """Return the arguments of ``iketcp`` for the relay."""
        listen, to = f"{where.responder}:{where.port}", f"{LOOPBACK}:{where.udp_port}"
        options = ["--listen", listen, "--to", to, "--trace", "-"]
        return ["relay", *options, "--control", "none"]
