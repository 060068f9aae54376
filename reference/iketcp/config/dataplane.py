"""What does not go together with the kernel's data plane.

Source: RFC 9329 §3.2, RFC 4301 §4.4.2
"""

from collections.abc import Iterator

from iketcp.config.reader import Document, Section
from iketcp.registry import TransformType
from iketcp.xfrm.algorithms import is_known_to_kernel


def check_dataplane(document: Document) -> None:
    """Refuse what the kernel does not do, where it is to seal and open packets.

    Raises
    ------
    ConfigurationError
        Something else is wanted, too.

    Source: RFC 9329 §3.2
    """
    section = document.one("tun")
    if section["dataplane"] == "user":
        return
    for reason in _reasons(document, section):
        raise section.error("dataplane", f'of "kernel" does not go with {reason}')
    for child in document.all("child"):
        _check_child(child)


def _reasons(document: Document, tun: Section) -> Iterator[str]:
    """Name what stands in the way; the kernel wants the bare TCP connection."""
    transport, local = document.one("transport"), document.one("local")
    if transport["protocol"] != "tcp":
        yield '[transport] protocol of "udp"'
    for name in ("tls", "proxy"):
        if document.one(name).is_present:
            yield f"[{name}]"
    if transport["proxy_protocol_from"]:
        yield "[transport] proxy_protocol_from"
    if transport["resync"]:
        yield "[transport] resync"
    if tun["mode"] != "device":
        yield '[tun] mode of "memory"'
    if document.role == "responder" and local["address"] in (None, "::"):
        # such a socket has IPv4 inside IPv6, which the kernel does not expect of ESP
        yield 'both IP versions at once; set [local] address, as in "0.0.0.0"'


def _check_child(child: Section) -> None:
    if child["mode"]:
        sentence = 'of "transport" does not go with [tun] dataplane of "kernel"'
        raise child.error("mode", sentence)
    for proposal in child["proposals"]:
        for transform in proposal.transforms:
            is_cipher = transform.type == TransformType.ENCR
            if is_cipher and not is_known_to_kernel(transform.id):
                sentence = 'go not with an implicit IV and [tun] dataplane of "kernel"'
                raise child.error("proposals", sentence)
