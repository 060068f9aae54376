"""Message tests that every implementation must read: all that RFC 7296 defines.

The numbers stand here and not in :mod:`iketcp.registry`, which is under test. New cases
go to the end of their function, and new functions to the end of :func:`valid`.

Source: RFC 7296 §1.2, RFC 7296 §3
"""

from collections.abc import Iterator

from iketcp.vectorlib.message_case import (
    AUTH_REQUEST,
    AUTH_RESPONSE,
    CREATE,
    CREATE_RESPONSE,
    INFO,
    INFO_RESPONSE,
    INIT,
    INIT_RESPONSE,
    Case,
)
from iketcp.vectorlib.message_cases_sa import security_associations
from iketcp.vectorlib.message_cases_ts import configurations, traffic_selectors
from iketcp.vectorlib.message_parts import (
    AH,
    AUTH,
    ESN,
    ESP,
    IDI,
    IDR,
    IKE,
    INITIATOR,
    KEM,
    PRF,
    RESPONSE,
    TSI,
    TSR,
    Head,
    Part,
    Proposal,
    Setting,
    Transform,
    addresses,
    auth,
    cert,
    certreq,
    cp,
    delete,
    eap,
    encr,
    encrypted,
    filler,
    identity,
    ke,
    nonce,
    notify,
    sa,
    ts,
    vendor,
)

ESP_SPI = bytes.fromhex("c0ffee01")
NONCE = nonce(filler("nonce", 32))
KE_X25519 = ke(31, filler("x25519", 32))
IKE_SUITE = (encr(20, 256), Transform(PRF, 5), Transform(KEM, 31))
ESP_SUITE = (encr(20, 256), Transform(ESN, 0))
IKE_SA = sa(Proposal(1, IKE, b"", IKE_SUITE))
ESP_SA = sa(Proposal(1, ESP, ESP_SPI, ESP_SUITE))
TS_I = ts(TSI, addresses("0a090002", "0a090002"))
TS_R = ts(TSR, addresses("0a010000", "0a0100ff"))
NAT = (notify(16388, filler("source", 20)), notify(16389, filler("destination", 20)))
ID_I = identity(IDI, 2, b"west.example")
ID_R = identity(IDR, 2, b"east.example")
PROOF = auth(2, filler("auth", 32))
CERTIFICATE = bytes.fromhex(
    "3081da30818da003020102020101300506032b657030173115301306035504030c0c77657374"
    "2e6578616d706c65301e170d3236303130313030303030305a170d3336303130313030303030"
    "305a30173115301306035504030c0c776573742e6578616d706c65302a300506032b65700321"
    "0003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8300506032b"
    "6570034100feb5905bf99403bf7c4f1345f2fc681873338238db88c4dd15a822050b38cfce1b"
    "1ce709fa61bdd3e8477d5d49f1fc7daf25db5dbce9f80fb0ed71c3a867f90f"
)
"""Self-signed by Ed25519, for west.example; its private key is 00 01 02 ... 1f."""


def valid() -> Iterator[Case]:
    """Make every case, in the order of the file."""
    yield from initial_exchanges()
    yield from later_exchanges()
    yield from flags_and_types()
    yield from security_associations()
    yield from key_exchanges()
    yield from identities()
    yield from certificates()
    yield from authentications()
    yield from nonces()
    yield from notifications()
    yield from deletes()
    yield from vendors()
    yield from traffic_selectors()
    yield from encrypted_payloads()
    yield from configurations()
    yield from eap_messages()
    yield from orders()


def initial_exchanges() -> Iterator[Case]:
    """Set up an IKE SA as everybody does."""
    cookie = notify(16390, filler("cookie", 32))
    first = (IKE_SA, KE_X25519, NONCE)
    hashes = notify(16431, bytes.fromhex("000200030004"))
    for comment, head, parts in (
        ("IKE_SA_INIT request", INIT, first),
        ("IKE_SA_INIT request of today", INIT, (*first, *NAT, hashes)),
        ("IKE_SA_INIT response", INIT_RESPONSE, (*first, *NAT)),
        (
            "IKE_SA_INIT response with CERTREQ",
            INIT_RESPONSE,
            (*first, certreq(4, filler("authority", 20))),
        ),
        (
            "IKE_SA_INIT response that asks for a cookie",
            Head(34, 0, RESPONSE, spi_r=bytes(8)),
            (cookie,),
        ),
        ("IKE_SA_INIT request with a cookie", INIT, (cookie, *first)),
        (
            "IKE_SA_INIT response that wants another key exchange method",
            Head(34, 0, RESPONSE, spi_r=bytes(8)),
            (notify(17, b"\x00\x13"),),
        ),
    ):
        yield Case(comment, "Ordinary", "1.2", head, parts)
    wishes = cp(1, Setting(1), Setting(3), Setting(8), Setting(10))
    answers = cp(2, Setting(1, bytes([10, 9, 0, 2])), Setting(3, bytes([10, 1, 0, 53])))
    child = (ESP_SA, TS_I, TS_R)
    for comment, head, inside in (
        ("IKE_AUTH request", AUTH_REQUEST, (ID_I, PROOF, *child)),
        (
            "IKE_AUTH request with all that may be in it",
            AUTH_REQUEST,
            (
                ID_I,
                cert(4, CERTIFICATE),
                notify(16384),
                certreq(4, filler("authority", 20)),
                ID_R,
                PROOF,
                wishes,
                ESP_SA,
                TS_I,
                TS_R,
                vendor(b"iketcp"),
            ),
        ),
        ("IKE_AUTH response", AUTH_RESPONSE, (ID_R, PROOF, *child)),
        ("IKE_AUTH response with CP", AUTH_RESPONSE, (ID_R, PROOF, answers, *child)),
        ("IKE_AUTH response that refuses", AUTH_RESPONSE, (notify(24),)),
        (
            "IKE_AUTH response whose Child SA is refused",
            AUTH_RESPONSE,
            (ID_R, PROOF, notify(38)),
        ),
    ):
        yield Case(comment, "Ordinary", "1.2", head, inside, is_protected=True)


def later_exchanges() -> Iterator[Case]:
    """Rekey, delete, ask whether the peer lives."""
    rekey = notify(16393, b"", ESP, ESP_SPI)
    new_ike = sa(Proposal(1, IKE, filler("new spi", 8), IKE_SUITE))
    for comment, spec, head, parts in (
        (
            "CREATE_CHILD_SA request for a Child SA",
            "1.3.1",
            CREATE,
            (ESP_SA, NONCE, TS_I, TS_R),
        ),
        (
            "CREATE_CHILD_SA response",
            "1.3.1",
            CREATE_RESPONSE,
            (ESP_SA, NONCE, KE_X25519, TS_I, TS_R),
        ),
        (
            "CREATE_CHILD_SA request that rekeys a Child SA",
            "1.3.3",
            CREATE,
            (rekey, ESP_SA, NONCE, KE_X25519, TS_I, TS_R),
        ),
        (
            "CREATE_CHILD_SA request that rekeys the IKE SA",
            "1.3.2",
            CREATE,
            (new_ike, NONCE, KE_X25519),
        ),
        (
            "CREATE_CHILD_SA response that rekeys the IKE SA",
            "1.3.2",
            CREATE_RESPONSE,
            (new_ike, NONCE, KE_X25519),
        ),
        ("INFORMATIONAL request without payloads", "1.4", INFO, ()),
        ("INFORMATIONAL response without payloads", "1.4", INFO_RESPONSE, ()),
        (
            "INFORMATIONAL request that deletes a Child SA",
            "1.4.1",
            INFO,
            (delete(ESP, [ESP_SPI]),),
        ),
        (
            "INFORMATIONAL request that deletes the IKE SA",
            "1.4.1",
            INFO,
            (delete(IKE),),
        ),
        (
            "INFORMATIONAL request with N, D and CP",
            "1.4",
            INFO,
            (notify(16385, bytes([0, 0, 0, 4])), delete(AH, [ESP_SPI]), cp(3)),
        ),
    ):
        flags = "Ordinary" if parts else "Ordinary Empty"
        yield Case(comment, flags, spec, head, tuple(parts), is_protected=True)


def flags_and_types() -> Iterator[Case]:
    """Try every exchange with every role, and the edges of the other fields."""
    names = {34: "IKE_SA_INIT", 35: "IKE_AUTH", 36: "CREATE_CHILD_SA"}
    for exchange, name in (names | {37: "INFORMATIONAL"}).items():
        for flags, role in {
            INITIATOR: "request of the original initiator",
            0: "request of the original responder",
            RESPONSE: "response of the original responder",
            RESPONSE | INITIATOR: "response of the original initiator",
        }.items():
            if exchange in (34, 35) and flags in (0, RESPONSE | INITIATOR):
                continue
            head = {34: INIT_RESPONSE if flags else INIT}.get(
                exchange, Head(exchange, 7, flags)
            )
            part = NONCE if exchange == 34 else encrypted(0, filler(f"{role}", 28))
            yield Case(f"{name} {role}", "HeaderFields", "3.1", head, (part,))
    body = (encrypted(41, filler("body", 60)),)
    for message_id in (1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        head = Head(37, message_id)
        yield Case(f"Message ID {message_id}", "HeaderFields", "2.2 3.1", head, body)
    for spi in ("0000000000000001", "8000000000000000", "ff" * 8, "494b4554435000ff"):
        octets = bytes.fromhex(spi)
        initiator, responder = Head(37, 3, spi_i=octets), Head(37, 3, 0, spi_r=octets)
        yield Case(f"SPIi {spi}", "HeaderFields", "2.6 3.1", initiator, body)
        yield Case(f"SPIr {spi}", "HeaderFields", "2.6 3.1", responder, body)


def key_exchanges() -> Iterator[Case]:
    """Send a public value of every method's size."""
    sizes = {2: 128, 14: 256, 15: 384, 16: 512, 19: 64, 20: 96, 21: 132, 31: 32, 32: 56}
    for method, size in sizes.items():
        part = ke(method, filler(f"method {method}", size))
        comment = f"KE, method {method}, {size} octets"
        parts = (IKE_SA, part, NONCE)
        yield Case(comment, "EveryNumber", "3.4", INIT, parts)
    for method in (0, 1, 1024, 65535):
        part = ke(method, filler(f"method {method}", 40))
        comment = f"KE, method {method}, which nobody knows"
        yield Case(comment, "UnknownNumber", "3.4", INIT, (part,))


def identities() -> Iterator[Case]:
    """Claim an identity of every type, at either end."""
    dn = bytes.fromhex("300f310d300b060355040313047765737400")[:-1]
    for id_type, data in {
        1: bytes([192, 0, 2, 1]),
        2: b"west.example",
        3: "ünder@example.com".encode(),
        5: bytes.fromhex("20010db8000000000000000000000001"),
        9: dn,
        10: bytes.fromhex("820c776573742e6578616d706c65"),
        11: bytes.fromhex("00ff10"),
    }.items():
        for kind, name in ((IDI, "IDi"), (IDR, "IDr")):
            yield Case(
                f"{name} of type {id_type}",
                "EveryNumber",
                "3.5",
                AUTH_REQUEST,
                (identity(kind, id_type, data),),
                is_protected=True,
            )
    for id_type in (0, 4, 200, 255):
        part = identity(IDI, id_type, b"what it means is not known")
        comment = f"IDi of unknown type {id_type}"
        yield Case(comment, "UnknownNumber", "3.5", AUTH_REQUEST, (part,), True)
    part = identity(IDI, 2, b"a" * 255)
    yield Case("IDi of 255 octets", "Sizes", "3.5", AUTH_REQUEST, (part,), True)


def certificates() -> Iterator[Case]:
    """Send certificates and requests of every encoding."""
    for encoding in (*range(1, 5), *range(6, 16), 200, 255):
        flags = "EveryNumber" if encoding < 16 else "UnknownNumber"
        data = CERTIFICATE
        if encoding in (12, 13):
            data = filler("hash", 20) + b"http://example.com/west.der"
        hashes = filler(f"authorities {encoding}", 40)
        for name, part in {
            "CERT": cert(encoding, data),
            "CERTREQ": certreq(encoding, hashes),
        }.items():
            comment = f"{name} with encoding {encoding}"
            section = "3.6" if name == "CERT" else "3.7"
            yield Case(comment, flags, section, AUTH_REQUEST, (part,), True)
    many = (cert(4, CERTIFICATE),) * 4
    yield Case("a chain of four CERT", "Several", "3.6", AUTH_REQUEST, many, True)
    for count in (0, 1, 3):
        part = certreq(4, filler("authorities", 20 * count))
        comment = f"CERTREQ that names {count} authorities"
        yield Case(comment, "Sizes", "3.7", AUTH_REQUEST, (part,), True)
    two = certreq(4, filler("one", 20)), certreq(12, b"")
    yield Case("two CERTREQ", "Several", "3.7", AUTH_REQUEST, two, True)


def authentications() -> Iterator[Case]:
    """Prove an identity by every method."""
    for method in (1, 2, 3, 14):
        # by RFC 7427 §3 the algorithm stands first, here that of Ed25519
        algorithm = bytes.fromhex("07300506032b6570") if method == 14 else b""
        part = auth(method, algorithm + filler(f"proof {method}", 64))
        comment = f"AUTH by method {method}"
        spec = "7427:3" if method == 14 else "3.8"
        yield Case(comment, "EveryNumber", spec, AUTH_REQUEST, (part,), True)
    for method in (0, 4, 200, 255):
        part = auth(method, filler(f"proof {method}", 64))
        comment = f"AUTH by unknown method {method}"
        yield Case(comment, "UnknownNumber", "3.8", AUTH_REQUEST, (part,), True)


def nonces() -> Iterator[Case]:
    """Send nonces of the sizes that are allowed."""
    for size in (16, 17, 32, 64, 255, 256):
        part = nonce(filler(f"nonce {size}", size))
        yield Case(f"nonce of {size} octets", "NonceSize", "3.9", INIT, (part,))


def notifications() -> Iterator[Case]:
    """Send every type, with an SPI where there is one, and types not known."""
    errors = (1, 4, 5, 7, 9, 11, 14, 17, 24, *range(34, 40), 43, 44)
    data = {1: b"\xc8", 5: b"", 9: bytes([0, 0, 0, 9]), 17: b"\x00\x1f"}
    with_spi = (39, 44, 16393)
    for kind in (*errors, *range(16384, 16396), 16431):
        spi = ESP_SPI if kind in with_spi else b""
        octets = data.get(kind, filler(f"notify {kind}", 20) if kind > 16384 else b"")
        yield Case(
            f"N of type {kind}",
            "EveryNumber",
            "7427:4" if kind == 16431 else "3.10.1",
            INFO,
            (notify(kind, octets, ESP if spi else 0, spi),),
            is_protected=True,
        )
    for kind in (0, 2, 8191, 16383, 40959, 40960, 65535):
        part = notify(kind, filler(f"notify {kind}", 5))
        comment = f"N of unknown type {kind}"
        yield Case(comment, "UnknownNumber", "3.10.1", INFO, (part,), True)
    for protocol in (AH, ESP):
        for kind in with_spi:
            part = notify(kind, filler("packet", 64), protocol, ESP_SPI)
            comment = f"N of type {kind} with an SPI of protocol {protocol} and data"
            yield Case(comment, "NotifySpi", "3.10", INFO, (part,), True)
    for size in (0, 1, 64, 1024):
        part = notify(40961, filler("data", size))
        yield Case(f"N with {size} octets of data", "Sizes", "3.10", INIT, (part,))
    many = tuple(notify(40960 + index) for index in range(20))
    yield Case("twenty N", "Several", "3.10", INIT, many)


def deletes() -> Iterator[Case]:
    """Delete IKE SAs and Child SAs."""
    yield Case("D of the IKE SA", "Delete", "3.11", INFO, (delete(IKE),), True)
    for protocol, name in ((AH, "AH"), (ESP, "ESP")):
        for count in (1, 2, 100):
            spis = [filler(f"spi {index}", 4) for index in range(count)]
            part = delete(protocol, spis)
            comment = f"D of {count} {name} SPIs"
            yield Case(comment, "Delete", "3.11", INFO, (part,), True)
    both = delete(AH, [b"\0\0\1\0"]), delete(ESP, [ESP_SPI])
    yield Case("D of AH, then D of ESP", "Delete Several", "3.11", INFO, both, True)


def vendors() -> Iterator[Case]:
    """Name implementations."""
    for size in (0, 1, 16, 20, 1000):
        part = vendor(filler("vendor", size))
        yield Case(f"V of {size} octets", "Sizes", "3.12", INIT, (part,))
    many = tuple(vendor(filler(f"vendor {index}", 16)) for index in range(3))
    yield Case("three V", "Several", "3.12", INIT, many)


def encrypted_payloads() -> Iterator[Case]:
    """Send SK as it travels; what is in it needs keys."""
    for inner in (0, 33, 35, 36, 39, 41, 42, 44, 47, 48):
        part = encrypted(inner, filler(f"inner {inner}", 48))
        comment = f"SK, the first payload inside is of type {inner}"
        yield Case(comment, "Encrypted", "3.14", AUTH_REQUEST, (part,))
    for size in (24, 25, 28, 1000):
        part = encrypted(35, filler("sk", size))
        yield Case(f"SK of {size} octets", "Encrypted Sizes", "3.14", INFO, (part,))
    parts = notify(40960), vendor(b"iketcp"), encrypted(35, filler("sk", 48))
    yield Case("N and V before SK", "Encrypted Several", "3.14", INFO, parts)


def eap_messages() -> Iterator[Case]:
    """Send EAP messages of every kind; they are not looked into."""
    for name, octets in {
        "request": "0101000501",
        "response": "0201000a0177657374",
        "success": "03010004",
        "failure": "04010004",
    }.items():
        data = bytes.fromhex(octets)
        data = data[:2] + len(data).to_bytes(2, "big") + data[4:]
        yield Case(f"EAP {name}", "Ordinary", "3.16", AUTH_REQUEST, (eap(data),), True)


def orders() -> Iterator[Case]:
    """Send the payloads of one message in another order."""
    for head, parts, is_protected in (
        (INIT, (IKE_SA, KE_X25519, NONCE, *NAT), False),
        (AUTH_REQUEST, (ID_I, ID_R, PROOF, ESP_SA, TS_I, TS_R), True),
    ):
        orders: dict[str, tuple[Part, ...]] = {
            "backwards": parts[::-1],
            "the last one first": (parts[-1], *parts[:-1]),
            "odd ones first": (*parts[1::2], *parts[::2]),
        }
        name = "IKE_AUTH" if any(part.kind == AUTH for part in parts) else "IKE_SA_INIT"
        for order, moved in orders.items():
            comment = f"{name} payloads {order}"
            yield Case(comment, "Order", "2.5", head, moved, is_protected)
