"""The tables about peers, secrets and what is negotiated with them.

A default stands here as the user would write it and goes through the same parser as
the user's values.

Source: RFC 7296 §2.8, RFC 7296 §2.15, RFC 7296 §2.19
"""

from collections.abc import Callable
from typing import Any

from iketcp.config.model import ROLES, Role
from iketcp.config.schema import Key, Table
from iketcp.config.values import (
    Kind,
    address,
    boolean,
    choice,
    duration,
    fraction,
    host,
    integer,
    list_of,
    network,
    parsed,
    path,
    refused,
    size,
    text,
    words_or,
)
from iketcp.ike.identity import Identity
from iketcp.ike.keywords import parse_esp_proposal, parse_ike_proposal
from iketcp.ike.policy import Childless, Uniqueness
from iketcp.selectors import TrafficSelector

_INITIATOR: tuple[Role, ...] = ("initiator",)
_RESPONDER: tuple[Role, ...] = ("responder",)

IDENTITY = parsed(
    'an identity such as "@gw.example", "user@example", "192.0.2.1" or "keyid:c0ffee"',
    Identity.parse,
)
_SELECTORS = list_of(
    parsed(
        'a traffic selector such as "10.1.0.0/16" or "10.1.0.0/16[tcp/80]"',
        TrafficSelector.parse,
    ),
    "traffic selectors",
    is_filled=True,
)
_PORT = integer(1, 65535)
_PSK = refused(
    "is refused: a secret in this file would travel with every copy of it; put it "
    "into a file of its own and name that with psk_file, or name an environment "
    "variable with psk_env"
)


def _proposals(parse: Callable[[str], Any], example: str) -> Kind:
    return list_of(
        parsed(f'a proposal such as "{example}"', parse), "proposals", is_filled=True
    )


_IKE_PROPOSALS = _proposals(parse_ike_proposal, "aes256gcm16-prfsha256-x25519")
_ESP_PROPOSALS = _proposals(parse_esp_proposal, "aes256gcm16-x25519")


def _lifetime_keys(lifetime: str) -> tuple[Key, ...]:
    """Return the keys that IKE SAs and Child SAs share."""
    return (
        Key(
            "lifetime",
            words_or({"none": None}, duration(1.0)),
            "Age at which the SA is rekeyed, less the jitter.",
            default=lifetime,
        ),
        Key(
            "lifetime_jitter",
            fraction(0.9),
            "Random share of each limit by which rekeying may come early, so that "
            "the two ends seldom rekey at once.",
            default=0.1,
        ),
        Key(
            "lifetime_grace",
            fraction(10),
            "Share of each limit after which an SA that could not be rekeyed ends.",
            default=0.1,
        ),
    )


SECRET_SOURCES = (
    Key(
        "psk_file",
        path(),
        "File whose contents are the secret, without the newline at its end. A text "
        "that begins with `0x` is hexadecimal, with `0s` Base64.",
    ),
    Key(
        "psk_env",
        text("[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable"),
        "Environment variable that holds the secret, written as in a file.",
    ),
    Key("psk", _PSK, "Refused, with a sentence that says where secrets belong."),
)

LOCAL = Table(
    "local",
    "Who we are.",
    (
        Key(
            "identity",
            IDENTITY,
            "The identity we claim (IDi or IDr).",
            required_for=ROLES,
        ),
        Key(
            "address",
            address(),
            "IP address to listen on (responder) or to connect from (initiator). "
            "Unset: every address, or whichever the system chooses.",
        ),
        Key(
            "port",
            words_or({"none": None}, _PORT),
            'TCP port to listen on without TLS; "none" where `[tls]` has the only '
            "one. An initiator connects from any free port.",
            default=4500,
            roles=_RESPONDER,
        ),
        Key(
            "auth",
            choice("psk", "certificate", "public-key", "null", "eap"),
            "How we prove who we are: by a pre-shared key, by a signature with or "
            "without certificate, not at all, or (an initiator only) as `[eap]` says.",
            default="psk",
        ),
        Key(
            "certificate",
            path(),
            "PEM file for `certificate`: ours, then those between it and the CA. It "
            "has to be issued to `identity`.",
        ),
        Key(
            "private_key",
            path(),
            "PEM file of the key that signs for `certificate` and `public-key`, "
            "without passphrase: RSA, ECDSA, Ed25519 or Ed448.",
        ),
        Key(
            "rsa_padding",
            choice("pss", "pkcs1"),
            "How an RSA key signs. Some peers cannot verify `pss`.",
            default="pss",
        ),
        *SECRET_SOURCES,
        Key(
            "psk_table",
            path(),
            "File of secrets, one a line: an identity, a network such as "
            "`192.0.2.0/24` where peers are, or `*` for all others; white space; and "
            "the secret, written as in a file of its own and without white space.",
        ),
    ),
    required_for=ROLES,
)

REMOTE = Table(
    "remote",
    "The peer.",
    (
        Key(
            "address",
            host(),
            "Host name or IP address to connect to.",
            roles=_INITIATOR,
            required_for=_INITIATOR,
        ),
        Key("port", _PORT, "TCP port to connect to.", default=4500, roles=_INITIATOR),
        Key(
            "identity",
            IDENTITY,
            "Who the peer must prove to be. A responder without this key serves "
            "whoever knows a secret.",
            required_for=_INITIATOR,
        ),
        Key(
            "auth",
            choice("psk", "certificate", "public-key", "null", "eap"),
            "How the peer has to prove who it is: by a pre-shared key, by a signature "
            "with or without certificate, not at all, or (as a responder) all peers "
            "as `[eap]` says. In that case `identity` of this table says nothing, and "
            "`identities` of `[eap]` says who may come in.",
            default="psk",
        ),
        Key(
            "ca",
            path(),
            "PEM file of the CAs that the peer's certificate may come from.",
        ),
        Key(
            "crls",
            list_of(path(), "paths"),
            "PEM files of revocation lists. With any, every certificate has to be "
            "covered by one.",
            default=[],
        ),
        Key(
            "public_key",
            path(),
            "PEM file of the peer's public key for `public-key`; goes with `identity`.",
        ),
    ),
    required_for=_INITIATOR,
)

SECRET = Table(
    "secret",
    "A pre-shared key for one peer, by its identity or by where it is. One for its "
    "identity comes before one for its address, and the key of `[local]` serves all "
    "other peers.",
    (
        Key("identity", IDENTITY, "The peer that shares this secret with us."),
        Key(
            "address",
            network(),
            "Or the address or network that such peers are seen at: outside of the "
            "tunnel, and outside of any NAT. The narrowest network counts.",
        ),
        *SECRET_SOURCES,
    ),
    is_repeated=True,
)

IKE = Table(
    "ike",
    "How IKE SAs are made and kept.",
    (
        Key(
            "proposals",
            _IKE_PROPOSALS,
            "What we offer or accept, the most preferred first.",
            default=[
                "aes256gcm16-aes128gcm16-chacha20poly1305"
                "-prfsha256-prfsha512-x25519-ecp256-modp2048",
                "aes256-aes128-sha256-sha512-x25519-ecp256-modp2048",
            ],
        ),
        *_lifetime_keys("4h"),
        Key(
            "reauth_time",
            words_or({"none": None}, duration(1.0)),
            "Age at which the peers authenticate each other anew, less the jitter: an "
            "initiator begins another IKE SA and then deletes this one; a responder "
            "tells initiators to. One that goes beyond it by `lifetime_grace` ends.",
            default="none",
        ),
        Key(
            "request_timeout",
            duration(1.0),
            "A request that is not answered by then ends the IKE SA; over TCP it is "
            "not retransmitted meanwhile.",
            default="60s",
        ),
        Key(
            "liveness",
            words_or({"none": None}, duration(1.0)),
            "After this long without a protected message from the peer, it is asked "
            "whether it is still there.",
            default="30s",
        ),
        Key(
            "request_addresses",
            list_of(
                words_or({"ipv4": 4, "ipv6": 6}),
                'IP versions, "ipv4" and "ipv6"',
                most=2,
            ),
            "Inner addresses to ask the responder for.",
            default=[],
            roles=_INITIATOR,
        ),
        Key(
            "cookies",
            boolean(),
            "Ask every initiator for a cookie first. TCP has already proved its "
            "address, so this seldom helps.",
            default=False,
            roles=_RESPONDER,
        ),
        Key(
            "puzzle_threshold",
            integer(0, 1_000_000),
            "With so many half-open IKE SAs an initiator has to solve a puzzle first; "
            "0: always.",
            default=128,
            roles=_RESPONDER,
        ),
        Key(
            "puzzle_difficulty",
            integer(0, 255),
            "Zero bits to look for in a puzzle; each one more doubles the work. 0 "
            "leaves it to the initiator.",
            default=0,
            roles=_RESPONDER,
        ),
        Key(
            "fragmentation",
            boolean(),
            "Agree to IKE fragments where the peer does. They are taken over any "
            "transport, and never sent over TCP, which has no need of them.",
            default=True,
        ),
        Key(
            "childless",
            choice(*(each.value for each in Childless)),
            "Make IKE SAs without a Child SA at first; those follow at once, each in "
            "an exchange of its own. An initiator says `prefer` or, to do without a "
            "responder that cannot, `force`; a responder that takes both kinds says "
            "`allow`. With a PPK in use the IKE SA is rekeyed in between, so that what "
            "Child SAs protect is hidden from quantum computers, too.",
            default="never",
        ),
        Key(
            "crash_secret_file",
            path(),
            "File of 32 random octets, made when it is missing. Of it come the tokens "
            "by which a peer learns, after a restart of ours, that its IKE SA is lost, "
            "in place of waiting for an answer. One machine's own: never shared.",
        ),
        Key(
            "prepared_keys",
            integer(0, 64),
            "Private keys of each key exchange method that are made in advance, while "
            "no handshake is under way. Each serves one handshake, which does not wait "
            "for it then; what they cost stays the same.",
            default=0,
        ),
        Key(
            "unique",
            words_or({each.value: each for each in Uniqueness}),
            "Whether a peer may have several IKE SAs with us. `initial-contact`: an "
            "initiator with no other says so, and a responder then ends those it still "
            "holds with that identity. `replace`: a responder ends them in any case. "
            "`never`: neither of them, for an identity that several machines share.",
            default="initial-contact",
        ),
        Key(
            "half_open",
            duration(1.0),
            "How long an IKE SA may wait for its IKE_AUTH.",
            default="30s",
            roles=_RESPONDER,
        ),
    ),
)

CHILD = Table(
    "child",
    "A Child SA: which packets go through the tunnel. The initiator sets up all of "
    "them; the responder accepts what fits one of them.",
    (
        Key(
            "name",
            text("[A-Za-z0-9_.:@-]{1,64}", "a name of letters, digits and _.:@-"),
            "Appears in logs and in `iketcp status`.",
            required_for=ROLES,
        ),
        Key(
            "proposals",
            _ESP_PROPOSALS,
            "What we offer or accept, the most preferred first. A key exchange "
            "keyword asks for perfect forward secrecy on rekeying.",
            default=[
                "aes256gcm16-aes128gcm16-chacha20poly1305",
                "aes256-aes128-sha256-sha512",
            ],
        ),
        Key(
            "local_ts",
            _SELECTORS,
            "Traffic selectors of our side: networks, ranges or addresses, with "
            "`[protocol/port]` where wanted.",
            default=["0.0.0.0/0", "::/0"],
            required_for=_RESPONDER,
        ),
        Key(
            "remote_ts",
            _SELECTORS,
            "Traffic selectors of the peer's side.",
            required_for=ROLES,
        ),
        Key(
            "mode",
            words_or({"tunnel": False, "transport": True}),
            "`tunnel`: whole packets of the networks behind the two ends. `transport`: "
            "packets between the two ends themselves, without their IP headers; the "
            "selectors are narrowed to the two addresses, so `0.0.0.0/0[udp/1701]` "
            "says enough.",
            default="tunnel",
        ),
        Key(
            "assigned",
            boolean(),
            "The initiator's side becomes the address that the responder assigns: "
            "our own as an initiator, the peer's as a responder.",
            default=False,
        ),
        *_lifetime_keys("1h"),
        Key(
            "lifetime_octets",
            size(),
            "Octets either way after which the Child SA is rekeyed, less the jitter.",
        ),
        Key(
            "lifetime_packets",
            integer(1, 2**63 - 1),
            "Packets either way after which the Child SA is rekeyed, less the jitter.",
        ),
        Key(
            "replay_window",
            integer(0, 65536),
            "Width of the anti-replay window in packets; 0 turns the service off and "
            "goes with `noesn` only.",
            default=1024,
        ),
        Key(
            "tfc_pad_to",
            integer(0, 65000),
            "Pad inner packets to this many octets, to hide their sizes; 0 adds none.",
            default=0,
        ),
    ),
    is_repeated=True,
    required_for=ROLES,
)

POOL = Table(
    "pool",
    "What the responder assigns to initiators that ask for it.",
    (
        Key(
            "networks",
            list_of(network(), "networks", is_filled=True),
            "Networks whose addresses are handed out.",
            required_for=_RESPONDER,
        ),
        Key(
            "dns",
            list_of(address(), "IP addresses"),
            "DNS servers to announce.",
            default=[],
        ),
    ),
    roles=_RESPONDER,
)
