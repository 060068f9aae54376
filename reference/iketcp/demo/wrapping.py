"""What the demonstration can put around its TCP connection: TLS, a web proxy, or both.

Whoever builds the stage imports this, may have one thread only, and gets more from
libraries below; so the certificates are made elsewhere.

Source: RFC 9329 App. A
"""

from dataclasses import dataclass

from iketcp.demo.scenery import EAST, WEST, Addresses

TLS_FOLDER = "tls"
"""Has what `iketcp tls new` makes."""


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What is between the peers besides TCP. RFC 9329 App. A."""

    is_tls: bool = False
    has_proxy: bool = False

    @property
    def about(self) -> str:
        """A sentence for who watches; empty where there is nothing to say."""
        way = {
            (True, False): "TLS",
            (False, True): "a web proxy (HTTP CONNECT)",
            (True, True): "TLS, and a web proxy (HTTP CONNECT)",
        }.get((self.is_tls, self.has_proxy))
        return f"West goes to east through {way}." if way else ""

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
        return text
