"""What each event means, in one sentence for somebody who sees it the first time.

The narrator says each of these once, under the first event it fits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Explanation:
    """A sentence and the section to read on."""

    text: str
    section: str


_OF_KIND = {
    "connection-opened": Explanation(
        "Who opens the TCP connection is the TCP Originator, and the one to open the "
        "next if this one breaks.",
        "RFC 9329 §6.1",
    ),
    "stream-prefix": Explanation(
        "Six octets, once, and only from the TCP Originator: they tell IKETCP from "
        "whatever else speaks TCP on this port.",
        "RFC 9329 §4",
    ),
    "tls": Explanation(
        "The stream prefix and all behind it are inside, for middleboxes that let "
        "nothing else through. What protects the packets is IPsec all the same.",
        "RFC 9329 App. A",
    ),
    "ike-keys": Explanation(
        "Both sides computed these from the two public values and nonces; none of "
        "them crossed the wire.",
        "RFC 7296 §2.14",
    ),
    "ike-sa-established": Explanation(
        "Each has proved that it knows the shared secret, over what both said before.",
        "RFC 7296 §2.15",
    ),
    "child-keys": Explanation(
        "One key each way, independent of those of the IKE SA.",
        "RFC 7296 §2.17",
    ),
    "child-sa-installed": Explanation(
        "From here on, inner packets within these selectors go through the tunnel in "
        "ESP, behind a Length like everything on this stream.",
        "RFC 9329 §3.2",
    ),
    "mapping-moved": Explanation(
        "An authentic message came on a new connection, so everything for this IKE SA "
        "goes there from now on. The SA itself never noticed.",
        "RFC 9329 §6.1",
    ),
    "child-sa-rekeyed": Explanation(
        "New keys, new SPIs, same selectors; the old pair serves until its DELETE, so "
        "no packet is lost.",
        "RFC 7296 §2.8",
    ),
    "child-sa-removed": Explanation(
        "What arrives under the old SPI from now on is dropped.",
        "RFC 7296 §1.4.1",
    ),
    "ike-sa-closed": Explanation(
        "Its Child SAs go with it, and every key is forgotten.",
        "RFC 7296 §1.4.1",
    ),
}

_OF_EXCHANGE = {
    ("IKE_SA_INIT", False): Explanation(
        "Offers algorithms, half a key exchange and a nonce; everything is in the "
        "clear, as there are no keys so far.",
        "RFC 7296 §1.2",
    ),
    ("IKE_SA_INIT", True): Explanation(
        "Chooses one of the proposals and adds the other half.", "RFC 7296 §1.2"
    ),
    ("IKE_INTERMEDIATE", False): Explanation(
        "One more key exchange, by another method: an encapsulation key of ML-KEM. "
        "It goes encrypted, and IKE_AUTH will vouch for it.",
        "RFC 9370 §2.2.2",
    ),
    ("IKE_INTERMEDIATE", True): Explanation(
        "The ciphertext that answers it. Every key changes now; who wants them has to "
        "break both methods.",
        "RFC 9370 §2.2.2",
    ),
    ("IKE_AUTH", False): Explanation(
        "Encrypted from here on: who I am, proof of it, and the first Child SA I want.",
        "RFC 7296 §1.2",
    ),
    ("IKE_AUTH", True): Explanation(
        "Who the other is, proof of it, the addresses it assigns, and the selectors "
        "narrowed to them.",
        "RFC 7296 §2.9",
    ),
    ("EAP_BEGIN", False): Explanation(
        "Encrypted from here on: who I say I am, and the Child SA I want. There is no "
        "AUTH, which asks for EAP.",
        "RFC 7296 §2.16",
    ),
    ("EAP_BEGIN", True): Explanation(
        "The responder proves itself first, and asks its first question in EAP. The "
        "Child SA has to wait.",
        "RFC 7296 §2.16",
    ),
    ("EAP", False): Explanation(
        "An answer in EAP: IKE carries it and does not look into it.",
        "RFC 7296 §3.16",
    ),
    ("EAP", True): Explanation(
        "The next question, or Success: then both have a key that EAP made.",
        "RFC 3748 §4.2",
    ),
    ("EAP_END", False): Explanation(
        "AUTH, made with that key: whoever went through EAP is whom this IKE SA is "
        "with.",
        "RFC 7296 §2.16",
    ),
    ("EAP_END", True): Explanation(
        "The same the other way, and at last the addresses and the Child SA.",
        "RFC 7296 §2.16",
    ),
    ("CREATE_CHILD_SA", False): Explanation(
        "Asks for a Child SA. With REKEY_SA it is to replace the one named.",
        "RFC 7296 §1.3.3",
    ),
    ("CREATE_CHILD_SA", True): Explanation(
        "Fresh nonces and a fresh key exchange: the old keys say nothing about the "
        "new.",
        "RFC 7296 §2.17",
    ),
    ("IKE_FOLLOWUP_KE", False): Explanation(
        "The same with ML-KEM, for the Child SA to be.", "RFC 9370 §2.2.4"
    ),
    ("IKE_FOLLOWUP_KE", True): Explanation(
        "Now both have all secrets, and the Child SA is there.", "RFC 9370 §2.2.4"
    ),
    ("DELETE", False): Explanation(
        "Names what is to end; in the direction of its sender nothing more is sent.",
        "RFC 7296 §1.4.1",
    ),
    ("DELETE", True): Explanation(
        "Agreed, with the SPIs of the other direction.", "RFC 7296 §1.4.1"
    ),
    ("EMPTY", False): Explanation(
        "Nothing inside, but authentic: it tells the responder which connection to "
        "use now.",
        "RFC 9329 §6.1",
    ),
    ("EMPTY", True): Explanation(
        "The answer comes on the new connection: the tunnel is back.", "RFC 9329 §6.1"
    ),
}


def purpose(event: Mapping[str, Any]) -> str:
    """Name what an IKE message is for: its exchange, or for INFORMATIONAL its content.

    A response to a Delete may have nothing inside, so responses need the request's
    purpose beside them; this looks at one message only.
    """
    exchange = str(event.get("exchange", ""))
    payloads = event.get("payloads", [])
    if exchange != "INFORMATIONAL":
        return exchange
    if any(payload.startswith("D(") for payload in payloads):
        return "DELETE"
    return "INFORMATIONAL" if payloads else "EMPTY"


def _round(event: Mapping[str, Any], about: str) -> str:
    """Tell the rounds of IKE_AUTH with EAP from an IKE_AUTH that is whole in one."""
    if about != "IKE_AUTH":
        return about
    kinds = {str(p).partition("(")[0] for p in event.get("payloads", [])}
    if kinds & {"IDi", "IDr"}:
        is_whole = "AUTH" in kinds and "EAP" not in kinds
        return about if is_whole else "EAP_BEGIN"
    return "EAP" if "EAP" in kinds else "EAP_END"


def explain(event: Mapping[str, Any], about: str = "") -> Explanation | None:
    """Find the sentence for an event; None where there is none.

    Parameters
    ----------
    event : Mapping
        A trace event.
    about : str
        For an IKE message, the purpose of its request.
    """
    if event.get("kind") == "ike-message":
        about = _round(event, about)
        return _OF_EXCHANGE.get((about, bool(event.get("is_response"))))
    return _OF_KIND.get(str(event.get("kind")))
