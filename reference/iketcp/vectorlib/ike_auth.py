"""The file ``ike_auth_test.json``: AUTH values, by secret and by signature.

Source: RFC 7296 §2.15, RFC 4754 §8, RFC 7427 §3
"""

from collections.abc import Iterator

from iketcp.vectorlib import ike_auth_signatures, int_auth, plain
from iketcp.vectorlib.assembly import case, flipped, group, octets, vector_file
from iketcp.vectorlib.ecdsa_published import CASES
from iketcp.vectorlib.envelope import Json, VectorFile

NAME = "ike_auth"
SPEC = "RFC 7296 §2.15"
KEY_PAD = b"Key Pad for IKEv2"
HASHES = {9: "SHA-256", 10: "SHA-384", 11: "SHA-512"}

HEADER = [
    "SharedKeyAuth: auth = prf(prf(secret, 'Key Pad for IKEv2'), signedOctets), and"
    " signedOctets = realMessage | peerNonce | prf(skP, idBody).",
    "realMessage is the signer's own IKE_SA_INIT message from the first octet of its"
    " header, without non-ESP marker; peerNonce the other side's nonce; skP the"
    " signer's SK_pi or SK_pr; idBody its ID payload without the generic header.",
    "In valid tests auth is what the signer sends, and verifies. In invalid ones auth"
    " came from the peer and is not the value of the other inputs.",
    "EcdsaSignature: authPayload carries signature (r | s) over message, made with"
    " publicKey (x | y) and the hash named.",
    *ike_auth_signatures.HEADER,
    *int_auth.HEADER,
]

NOTES = {
    **int_auth.NOTES,
    **ike_auth_signatures.NOTES,
    "Identity": (
        "BASIC",
        "Each type of identity; the type octet and the reserved ones are signed too.",
        "Signing the identity alone lets its type be changed.",
    ),
    "LongSecret": (
        "EDGE_CASE",
        "A secret longer than a block of the hash.",
        "A secret cut short, or refused.",
    ),
    "Misprint": (
        "BASIC",
        "RFC 4754 prints the Auth Method one octet too late, in a reserved field; here"
        " it stands where RFC 7296 has it.",
        "None, if the payload is taken as it stands here.",
    ),
    "NonceSize": (
        "EDGE_CASE",
        "A nonce of the smallest or largest size.",
        "Nonces cut to the size of our own.",
    ),
    "Ordinary": ("BASIC", "A usual identity, nonce and secret.", "No tunnel."),
    "Published": (
        "BASIC",
        "Values printed in an RFC.",
        "No peer interoperates.",
    ),
    "Tampered": (
        "BASIC",
        "An octet of AUTH differs, or some are missing or added.",
        "Anybody is let in.",
    ),
    "WrongInput": (
        "BASIC",
        "AUTH was made over other inputs, by a mistake that implementations make.",
        "No peer interoperates, or an attacker's changes go unseen.",
    ),
}


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7296 §2.15, RFC 4754 §8, RFC 7427 §3, RFC 9242 §3.3.2
    """
    groups = [
        group(
            "SharedKeyAuth",
            "iketcp/ike_auth",
            [*valid_cases(number), *invalid_cases(number)],
            prf=number,
            prfName=plain.PRF_NAMES[number],
            authMethod=2,
        )
        for number in plain.PRFS
    ]
    groups += [published(*values) for values in CASES]
    groups += ike_auth_signatures.signature_groups()
    groups += int_auth.int_auth_groups()
    return vector_file(NAME, "IKE-AUTH", HEADER, NOTES, groups)


def published(
    section: str,
    method: int,
    curve: str,
    private: str,
    public: str,
    r: str,
    s: str,
    payload: str,
) -> Json:
    """Import one signature of RFC 4754."""
    test = case(
        f"{section}, the message abc",
        "Published Misprint",
        f"{section}; RFC 4754 §7; RFC 7296 §3.8",
        privateKey=private,
        publicKey=public,
        message=b"abc",
        signature=r + s,
        authPayload=payload[:8] + f"{method:02x}000000" + payload[16:],
    )
    return group(
        "EcdsaSignature",
        section,
        [test],
        authMethod=method,
        curve=curve,
        hash=HASHES[method],
    )


def init_message(label: str) -> bytes:
    """Make what can stand for an IKE_SA_INIT message: a header and a Nonce payload.

    AUTH is over its octets as they are, so there is no need for more payloads.
    """
    nonce = plain.payload(0, octets(f"{label} own nonce", 32))
    spi_i = octets(f"{label} spi i", 8)
    header = plain.ike_header(spi_i, bytes(8), 40, 34, 0x08, 0, 28 + len(nonce))
    return header + nonce


def inputs(number: int, label: str, id_body: bytes, nonce_size: int = 32) -> Json:
    """Draw the inputs of a case, but for the secret."""
    return {
        "realMessage": init_message(label),
        "peerNonce": octets(f"{label} peer nonce", nonce_size),
        "skP": octets(f"{label} sk_p {number}", plain.PRF_SIZES[number]),
        "idBody": id_body,
    }


def signed_octets(number: int, given: Json) -> bytes:
    """Put together what is signed. Source: RFC 7296 §2.15."""
    signed_id = plain.prf(number, given["skP"], given["idBody"])
    signed: bytes = given["realMessage"] + given["peerNonce"] + signed_id
    return signed


def auth_of(number: int, given: Json, secret: bytes) -> bytes:
    """Compute AUTH. Source: RFC 7296 §2.15."""
    key = plain.prf(number, secret, KEY_PAD)
    return plain.prf(number, key, signed_octets(number, given))


def identity(kind: int, data: bytes) -> bytes:
    """Write the body of an ID payload. Source: RFC 7296 §3.5."""
    return bytes([kind, 0, 0, 0]) + data


def valid_cases(number: int) -> Iterator[Json]:
    """Try identities, nonces and secrets."""
    fqdn = identity(2, b"gw.example")
    secret = b"correct horse battery staple"
    yield signed(number, "a name and a passphrase", "Ordinary", fqdn, secret)
    for comment, body in (
        ("ID_IPV4_ADDR", identity(1, bytes([192, 0, 2, 1]))),
        ("ID_RFC822_ADDR", identity(3, b"user@example")),
        ("ID_IPV6_ADDR", identity(5, bytes.fromhex("20010db8" + "00" * 11 + "01"))),
        ("ID_KEY_ID", identity(11, bytes.fromhex("00ff80"))),
    ):
        yield signed(number, comment, "Identity", body, secret)
    for size in (16, 256):
        comment = f"peer's nonce of {size} octets"
        yield signed(number, comment, "NonceSize", fqdn, secret, size)
    comment = "secret of 200 octets"
    yield signed(number, comment, "LongSecret", fqdn, octets("long secret", 200))
    yield signed(number, "secret of one octet", "Ordinary", fqdn, b"\0")


def signed(
    number: int,
    comment: str,
    flags: str,
    id_body: bytes,
    secret: bytes,
    nonce_size: int = 32,
) -> Json:
    """Make a case whose AUTH verifies."""
    given = inputs(number, comment, id_body, nonce_size)
    return case(
        comment,
        flags,
        f"{SPEC}, §3.5, §3.8",
        **given,
        secret=secret,
        signedOctets=signed_octets(number, given),
        auth=auth_of(number, given, secret),
    )


def invalid_cases(number: int) -> Iterator[Json]:
    """Receive AUTH values that must not be accepted."""
    secret = octets("secret", 32)
    given = inputs(number, "invalid", identity(2, b"gw.example"))
    auth = auth_of(number, given, secret)
    for comment, wrong in (
        ("first bit changed", flipped(auth, 0, 0x80)),
        ("last bit changed", flipped(auth, -1)),
        ("last octet missing", auth[:-1]),
        ("an octet added", auth + b"\0"),
        ("empty", b""),
    ):
        yield refused(number, comment, "Tampered", given, secret, wrong)
    yield refused(
        number,
        "another secret",
        "WrongInput",
        given,
        secret,
        auth_of(number, given, flipped(secret, 0)),
    )
    marker = {"realMessage": bytes(4) + given["realMessage"]}
    nonce = {"peerNonce": octets("invalid own nonce", 32)}
    whole = {"idBody": plain.payload(39, given["idBody"])}
    kind = {"idBody": given["idBody"][4:]}
    for comment, change in (
        ("non-ESP marker signed too", marker),
        ("the signer's own nonce instead of the other side's", nonce),
        ("generic header of the ID payload signed too", whole),
        ("type of the identity left out", kind),
    ):
        wrong = auth_of(number, given | change, secret)
        yield refused(number, comment, "WrongInput", given, secret, wrong)
    signed = signed_octets(number, given)
    no_pad = plain.prf(number, secret, signed)
    yield refused(number, "no key pad", "WrongInput", given, secret, no_pad)
    zero = plain.prf(number, secret, KEY_PAD + b"\0")
    wrong = plain.prf(number, zero, signed)
    comment = "key pad with a terminating zero"
    yield refused(number, comment, "WrongInput", given, secret, wrong)


def refused(
    number: int, comment: str, flags: str, given: Json, secret: bytes, auth: bytes
) -> Json:
    """Make a case whose AUTH does not verify."""
    return case(
        comment,
        flags,
        f"{SPEC}, §2.21.2",
        error="AuthenticationFailed",
        reaction="AUTHENTICATION_FAILED",
        **given,
        secret=secret,
        signedOctets=signed_octets(number, given),
        auth=auth,
    )
