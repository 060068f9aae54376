"""The file ``proposal_choice_test.json``: which proposal a responder takes.

Source: RFC 7296 §2.7, RFC 7296 §3.3
"""

from collections.abc import Iterator

from iketcp.vectorlib.assembly import case, group, vector_file
from iketcp.vectorlib.envelope import Json, VectorFile

NAME = "proposal_choice"
SPEC = "RFC 7296 §2.7, §3.3"
MANDATORY_SPEC = "RFC 7296 §3.3.3, §3.3.2"
UNKNOWN_SPEC = "RFC 7296 §3.3.6"
IKE, AH, ESP = 1, 2, 3
ESP_SPI = "c0ffee01"

HEADER = [
    "Proposals have transforms by IANA's numbers: type (1 encryption, 2 prf, 3"
    " integrity, 4 key exchange, 5 sequence numbers), id, keyBits of the Key Length"
    " attribute or null, and otherAttributes, octets of attributes nobody knows.",
    "ProposalSelection: a responder with this policy gets offer; offerOctets is the SA"
    " payload's body. choice is its answer, with one transform of each type offered."
    " preferredKe is the method of the KE payload that came along, 0 for none.",
    "Valid: choice is the only right answer. Acceptable: others are right too; ours"
    " follows the offer's order, by proposal and by transform, but takes the method of"
    " preferredKe where it may. Invalid: nothing fits, the answer is"
    " NO_PROPOSAL_CHOSEN and choice is null.",
    "ProposalAnswer: an initiator that has sent offer gets answer. Invalid: it is not"
    " one of the suites offered, and the SA is not set up.",
]

NOTES = {
    "Additional": (
        "BASIC",
        "Additional key exchanges, transform types 6 to 12.",
        "A key exchange left out that was meant to protect the others.",
    ),
    "Alternatives": (
        "BASIC",
        "Several transforms of one type.",
        "An answer with more than one, or with none.",
    ),
    "KeyLength": (
        "EDGE_CASE",
        "Another Key Length, one too many, or none.",
        "Keys of another size than the peer's.",
    ),
    "Mandatory": (
        "EDGE_CASE",
        "A type that the protocol demands is missing.",
        "An SA without integrity or key exchange.",
    ),
    "NoneOffered": (
        "EDGE_CASE",
        "NONE offered, which is the same as leaving the type out.",
        "Peers that never agree, or an SA without integrity.",
    ),
    "Nothing": ("BASIC", "Nothing in common.", "Algorithms that policy forbids."),
    "Ordinary": ("BASIC", "One proposal that fits.", "No tunnel."),
    "SameMethod": (
        "EDGE_CASE",
        "One method for two key exchanges of a suite.",
        "Two key exchanges that break together.",
    ),
    "Several": (
        "BASIC",
        "Several proposals.",
        "A mixture of two proposals, or the wrong number in the answer.",
    ),
    "Unknown": (
        "EDGE_CASE",
        "A type, number or attribute nobody knows.",
        "A proposal from a newer peer breaks the exchange.",
    ),
    "WrongAnswer": (
        "BASIC",
        "An answer that was not offered.",
        "A weaker SA than the initiator wanted.",
    ),
}

GCM128, GCM256 = (1, 20, 128), (1, 20, 256)
CHACHA, CBC256 = (1, 28, None), (1, 12, 256)
PRF256, PRF512 = (2, 5, None), (2, 7, None)
NO_INTEG, SHA256, SHA512 = (3, 0, None), (3, 12, None), (3, 14, None)
NO_KE, MODP, ECP, X25519 = (4, 0, None), (4, 14, None), (4, 19, None), (4, 31, None)
NO_ESN, ESN = (5, 0, None), (5, 1, None)
KEM768, KEM1024 = 36, 37

Kind = tuple[int, int, int | None]


def transform(kind: Kind, other: str = "") -> Json:
    """Write a transform."""
    return {
        "type": kind[0],
        "id": kind[1],
        "keyBits": kind[2],
        "otherAttributes": other,
    }


def ike(*kinds: Kind, number: int = 1) -> Json:
    """Write a proposal for an IKE SA."""
    return proposal(IKE, "", *kinds, number=number)


def esp(*kinds: Kind, number: int = 1) -> Json:
    """Write a proposal for a Child SA."""
    return proposal(ESP, ESP_SPI, *kinds, number=number)


def proposal(protocol: int, spi: str, *kinds: Kind, number: int = 1) -> Json:
    """Write a proposal."""
    return {
        "number": number,
        "protocol": protocol,
        "spi": spi,
        "transforms": [transform(kind) for kind in kinds],
    }


def encode(proposals: list[Json]) -> bytes:
    """Write the body of an SA payload. Source: RFC 7296 §3.3.1."""
    body = b""
    for at, one in enumerate(proposals, 1):
        transforms = b""
        for place, part in enumerate(one["transforms"], 1):
            attributes = b""
            if part["keyBits"] is not None:
                attributes = b"\x80\x0e" + part["keyBits"].to_bytes(2, "big")
            attributes += bytes.fromhex(part["otherAttributes"])
            more = 0 if place == len(one["transforms"]) else 3
            transforms += (
                bytes([more, 0])
                + (8 + len(attributes)).to_bytes(2, "big")
                + bytes([part["type"], 0])
                + part["id"].to_bytes(2, "big")
                + attributes
            )
        spi = bytes.fromhex(one["spi"])
        head = bytes([one["number"], one["protocol"], len(spi), len(one["transforms"])])
        size = 8 + len(spi) + len(transforms)
        more = 0 if at == len(proposals) else 2
        body += bytes([more, 0]) + size.to_bytes(2, "big") + head + spi + transforms
    return body


def build() -> VectorFile:
    """Build the file's contents.

    Source: RFC 7296 §2.7, RFC 7296 §3.3
    """
    source = "iketcp/proposal_choice"
    tests = [*chosen(), *acceptable(), *unknown(), *nothing(), *missing(), *children()]
    groups = [
        group("ProposalSelection", source, tests),
        group("ProposalAnswer", source, list(answers())),
        group("ProposalSelection", source, [*additional(), *same_methods()]),
        group("ProposalAnswer", source, list(additional_answers())),
    ]
    return vector_file(NAME, "IKE-PROPOSALS", HEADER, NOTES, groups)


def selection(
    comment: str,
    flags: str,
    offer: list[Json],
    policy: list[Json],
    choice: Json | None,
    *,
    spec: str = SPEC,
    preferred: int = 31,
    result: str = "",
) -> Json:
    """Make a case of a responder."""
    return case(
        comment,
        flags,
        spec,
        result=result,
        error=None if choice else "NoProposalChosen",
        reaction=None if choice else "NO_PROPOSAL_CHOSEN",
        offer=offer,
        offerOctets=encode(offer),
        policy=policy,
        preferredKe=preferred,
        choice=choice,
    )


def chosen() -> Iterator[Json]:
    """Try offers with one right answer."""
    gcm = ike(GCM128, PRF256, X25519)
    yield selection("the same", "Ordinary", [gcm], [gcm], gcm)
    chacha = ike(CHACHA, PRF512, ECP)
    yield selection("no Key Length", "Ordinary", [chacha], [chacha], chacha)
    cbc = ike(CBC256, PRF256, SHA256, MODP)
    yield selection("with integrity", "Ordinary", [cbc], [cbc], cbc, preferred=14)
    offer = ike(GCM256, GCM128, PRF512, PRF256, ECP, X25519)
    comment = "one of two of each type"
    yield selection(comment, "Alternatives", [offer], [gcm], gcm)
    many = ike(GCM128, GCM256, CHACHA, PRF256, PRF512, ECP, X25519)
    yield selection("much allowed", "Alternatives", [gcm], [many], gcm)
    second = ike(GCM128, PRF256, X25519, number=2)
    yield selection("the second", "Several", [chacha, second], [gcm], second)
    last = ike(GCM128, PRF256, X25519, number=20)
    offers = [ike(CHACHA, PRF512, ECP, number=n) for n in range(1, 20)]
    yield selection("the last of twenty", "Several", [*offers, last], [gcm], last)
    offers = [ike(CHACHA, PRF256, ECP), ike(GCM128, PRF256, X25519, number=2)]
    policy = [ike(CHACHA, PRF256, X25519), gcm]
    comment = "each half fits, only the second as a whole"
    yield selection(comment, "Several", offers, policy, offers[1])
    none = ike(GCM128, PRF256, NO_INTEG, X25519)
    yield selection("NONE for integrity", "NoneOffered", [none], [gcm], none)
    both = ike(GCM128, PRF256, SHA256, NO_INTEG, X25519)
    comment = "NONE or HMAC for a combined-mode cipher"
    yield selection(comment, "NoneOffered", [both], [gcm], none)
    comment = "another method than that of the KE payload"
    yield selection(comment, "Alternatives", [offer], [gcm], gcm, preferred=19)


def acceptable() -> Iterator[Json]:
    """Try offers with several right answers."""
    both = ike(GCM256, GCM128, PRF256, ECP, X25519)
    first = ike(GCM256, PRF256, ECP)
    for comment, preferred, choice in (
        ("KE payload of the first method", 19, first),
        ("KE payload of the second method", 31, ike(GCM256, PRF256, X25519)),
        ("KE payload of another method", 14, first),
    ):
        yield selection(
            comment,
            "Alternatives",
            [both],
            [both],
            choice,
            preferred=preferred,
            result="acceptable",
        )
    one, two = ike(GCM128, PRF256, X25519), ike(CHACHA, PRF256, X25519, number=2)
    comment = "two proposals that policy has in the other order"
    policy = [ike(CHACHA, PRF256, X25519), one]
    yield selection(comment, "Several", [one, two], policy, one, result="acceptable")


def unknown() -> Iterator[Json]:
    """Try what a newer peer might offer."""
    gcm = ike(GCM128, PRF256, X25519)
    strange = ike(GCM128, PRF256, X25519, (200, 1, None))
    second = ike(GCM128, PRF256, X25519, number=2)
    comment = "a transform type nobody knows, then without"
    yield selection(
        comment, "Unknown", [strange, second], [gcm], second, spec=UNKNOWN_SPEC
    )
    comment = "a transform type nobody knows"
    yield selection(comment, "Unknown", [strange], [gcm], None, spec=UNKNOWN_SPEC)
    ids = ike((1, 65000, 128), GCM128, (2, 1024, None), PRF256, X25519)
    comment = "numbers nobody knows among others"
    yield selection(comment, "Unknown", [ids], [gcm], gcm, spec=UNKNOWN_SPEC)
    marked = ike(GCM128, GCM256, PRF256, X25519)
    marked["transforms"][0]["otherAttributes"] = "c0000001"
    wide = ike(GCM128, GCM256, PRF256, X25519)
    comment = "an attribute nobody knows: the next transform"
    choice = ike(GCM256, PRF256, X25519)
    yield selection(comment, "Unknown", [marked], [wide], choice, spec=UNKNOWN_SPEC)
    alone = ike(GCM128, PRF256, X25519)
    alone["transforms"][0]["otherAttributes"] = "400100020102"
    comment = "an attribute nobody knows on the only transform"
    yield selection(comment, "Unknown", [alone], [gcm], None, spec=UNKNOWN_SPEC)


def nothing() -> Iterator[Json]:
    """Try offers that policy does not allow."""
    gcm = ike(GCM128, PRF256, X25519)
    for comment, flags, offer in (
        ("another cipher", "Nothing", ike(CHACHA, PRF256, X25519)),
        ("another prf", "Nothing", ike(GCM128, PRF512, X25519)),
        ("another method", "Nothing", ike(GCM128, PRF256, ECP)),
        ("another Key Length", "KeyLength", ike(GCM256, PRF256, X25519)),
        ("Key Length missing", "KeyLength", ike((1, 20, None), PRF256, X25519)),
        ("HMAC beside GCM", "Nothing", ike(GCM128, PRF256, SHA256, X25519)),
        ("for a Child SA", "Nothing", esp(GCM128, NO_ESN)),
    ):
        yield selection(comment, flags, [offer], [gcm], None)
    chacha = ike(CHACHA, PRF256, X25519)
    long = ike((1, 28, 256), PRF256, X25519)
    comment = "Key Length with a cipher of one size"
    yield selection(comment, "KeyLength", [long], [chacha], None)
    cbc = ike(CBC256, PRF256, SHA256, X25519)
    other = ike(CBC256, PRF256, SHA512, X25519)
    yield selection("another integrity", "Nothing", [other], [cbc], None)


def missing() -> Iterator[Json]:
    """Leave out what an IKE SA must have."""
    gcm = ike(GCM128, PRF256, X25519)
    for comment, offer in (
        ("no encryption", ike(PRF256, X25519)),
        ("no prf", ike(GCM128, X25519)),
        ("no key exchange", ike(GCM128, PRF256)),
        ("key exchange NONE", ike(GCM128, PRF256, NO_KE)),
    ):
        yield selection(comment, "Mandatory", [offer], [gcm], None, spec=MANDATORY_SPEC)
    cbc = ike(CBC256, PRF256, SHA256, X25519)
    for comment, kinds in (
        ("AES-CBC without integrity", (CBC256, PRF256, X25519)),
        ("AES-CBC with integrity NONE", (CBC256, PRF256, NO_INTEG, X25519)),
    ):
        yield selection(
            comment, "Mandatory", [ike(*kinds)], [cbc], None, spec=MANDATORY_SPEC
        )


def children() -> Iterator[Json]:
    """Try proposals for Child SAs."""
    plain = esp(GCM128, NO_ESN)
    yield selection("a Child SA", "Ordinary", [plain], [plain], plain, preferred=0)
    wide, long = esp(GCM128, ESN, NO_ESN), esp(GCM128, ESN)
    comment = "extended numbers or not"
    yield selection(comment, "Alternatives", [wide], [long], long, preferred=0)
    own = esp(GCM128, X25519, NO_ESN)
    yield selection("with a key exchange", "Ordinary", [own], [own], own)
    both = esp(GCM128, X25519, NO_KE, NO_ESN)
    none = esp(GCM128, NO_KE, NO_ESN)
    comment = "key exchange or NONE, none allowed"
    yield selection(comment, "NoneOffered", [both], [plain], none)
    for comment, flags, offer, policy in (
        ("key exchange where none is allowed", "Nothing", own, plain),
        ("no key exchange where one is wanted", "Nothing", plain, own),
        ("no word on extended numbers", "Mandatory", esp(GCM128), plain),
        ("extended numbers not allowed", "Nothing", long, plain),
        ("for AH", "Nothing", proposal(AH, ESP_SPI, SHA256, NO_ESN), plain),
    ):
        yield selection(comment, flags, [offer], [policy], None, preferred=0)


def answers() -> Iterator[Json]:
    """Receive answers."""
    offer = [
        ike(GCM128, GCM256, PRF256, X25519, ECP),
        ike(CBC256, PRF256, SHA256, X25519, number=2),
    ]
    good = ike(GCM256, PRF256, ECP)
    second = ike(CBC256, PRF256, SHA256, X25519, number=2)
    for comment, flags, answer in (
        ("one of each type", "Ordinary", [good]),
        ("the second proposal", "Several", [second]),
        ("types in another order", "Ordinary", [ike(ECP, GCM256, PRF256)]),
        ("no proposal", "WrongAnswer", []),
        ("two proposals", "WrongAnswer", [good, second]),
        ("number of the other", "WrongAnswer", [good | {"number": 2}]),
        ("number 3", "WrongAnswer", [good | {"number": 3}]),
        ("another cipher", "WrongAnswer", [ike(CHACHA, PRF256, ECP)]),
        ("a mixture", "WrongAnswer", [ike(GCM128, PRF256, SHA256, X25519)]),
        ("two ciphers", "WrongAnswer", [ike(GCM128, GCM256, PRF256, ECP)]),
        ("no prf", "WrongAnswer", [ike(GCM128, ECP)]),
        ("key exchange NONE", "WrongAnswer", [ike(GCM128, PRF256, NO_KE)]),
        ("an integrity more", "WrongAnswer", [ike(GCM128, PRF256, SHA256, ECP)]),
        ("for ESP", "WrongAnswer", [esp(GCM128, PRF256, ECP)]),
        ("no Key Length", "KeyLength", [ike((1, 20, None), PRF256, ECP)]),
        ("Key Length 192", "KeyLength", [ike((1, 20, 192), PRF256, ECP)]),
    ):
        is_good = flags in ("Ordinary", "Several")
        yield case(
            comment,
            flags,
            f"{SPEC}; {UNKNOWN_SPEC}",
            error=None if is_good else "NoProposalChosen",
            reaction=None if is_good else "refuse",
            offer=offer,
            answer=answer,
        )


ADDITIONAL_SPEC = "RFC 9370 §2.2.1"


def more(place: int, method: int) -> Kind:
    """Write an additional key exchange, 1 to 7; method 0 is NONE."""
    return (5 + place, method, None)


def additional() -> Iterator[Json]:
    """Offer additional key exchanges. Source: RFC 9370 §2.2.1."""
    base = (GCM256, PRF256, X25519)
    plain, hybrid = ike(*base), ike(*base, more(1, KEM768))
    may = ike(*base, more(1, KEM768), more(1, 0))
    none = ike(*base, more(1, 0))
    sparse = ike(*base, more(2, KEM768), more(5, 20), more(7, KEM1024))
    both = ike(*base, more(1, KEM768), more(2, KEM1024))
    child = esp(GCM256, X25519, more(1, KEM768), NO_ESN)
    bare = esp(GCM256, more(1, KEM768), NO_ESN)
    other, moved = ike(*base, more(1, KEM1024)), ike(*base, more(2, KEM768))
    for comment, flags, offer, policy, choice in (
        ("one", "Additional", hybrid, hybrid, hybrid),
        ("one that may be NONE, and need not", "NoneOffered", may, hybrid, hybrid),
        ("one that may be NONE, and has to", "NoneOffered", may, plain, none),
        ("NONE alone", "NoneOffered", none, plain, none),
        ("nothing, where it may be NONE", "NoneOffered", plain, may, plain),
        ("any places of the seven", "Additional", sparse, sparse, sparse),
        ("for a Child SA", "Additional", child, child, child),
        ("one, where none is allowed", "Additional", hybrid, plain, None),
        ("none, where one is demanded", "Additional", plain, hybrid, None),
        ("NONE, where one is demanded", "NoneOffered", none, hybrid, None),
        ("another method", "Additional", other, hybrid, None),
        ("in another place", "Additional", moved, hybrid, None),
        ("additional to no key exchange", "Mandatory", bare, bare, None),
    ):
        spec = ADDITIONAL_SPEC
        yield selection(comment, flags, [offer], [policy], choice, spec=spec)
    second = ike(*base, number=2)
    yield selection(
        "two places without NONE, one allowed; then none",
        "Several",
        [both, second],
        [hybrid, plain],
        second,
        spec=ADDITIONAL_SPEC,
    )


def same_methods() -> Iterator[Json]:
    """Offer a method in several places. Source: RFC 9370 §2.2.1."""
    base = (GCM256, PRF256, X25519)
    swap = ike(*base, more(1, KEM768), more(1, KEM1024), more(2, KEM768))
    swapped = ike(*base, more(1, KEM1024), more(2, KEM768))
    for comment, offer, choice in (
        ("the first place leaves its method to the second", swap, swapped),
        (
            "type 4 leaves its method to the first place",
            ike(GCM256, PRF256, X25519, ECP, more(1, 31)),
            ike(GCM256, PRF256, ECP, more(1, 31)),
        ),
        ("the method of type 4 again", ike(*base, more(1, 31)), None),
        ("in two places", ike(*base, more(1, KEM768), more(3, KEM768)), None),
    ):
        spec = ADDITIONAL_SPEC
        yield selection(comment, "SameMethod", [offer], [offer], choice, spec=spec)


def additional_answers() -> Iterator[Json]:
    """Receive answers to additional key exchanges. Source: RFC 9370 §2.2.1."""
    base = (GCM256, PRF256, X25519)
    offer = ike(*base, *(more(n, m) for n in (1, 2) for m in (KEM768, KEM1024)))
    offer["transforms"].append(transform(more(3, 20)))
    offer["transforms"].append(transform(more(3, 0)))
    one, two = more(1, KEM768), more(2, KEM1024)
    for comment, flags, kinds in (
        ("one of each, NONE for the third", "Ordinary", (one, two, more(3, 0))),
        ("one of each, the third left out", "Ordinary", (one, two)),
        (
            "the other way round, and all three",
            "Ordinary",
            (more(1, KEM1024), more(2, KEM768), more(3, 20)),
        ),
        ("the second left out", "WrongAnswer", (one, more(3, 20))),
        ("NONE for the second", "WrongAnswer", (one, more(2, 0), more(3, 20))),
        ("the same method twice", "WrongAnswer", (one, more(2, KEM768), more(3, 0))),
        ("two for one place", "WrongAnswer", (one, more(1, KEM1024), two)),
        ("a fourth", "WrongAnswer", (one, two, more(4, 19))),
        ("another method", "WrongAnswer", (one, two, more(3, 21))),
    ):
        is_good = flags == "Ordinary"
        yield case(
            comment,
            flags,
            ADDITIONAL_SPEC,
            error=None if is_good else "NoProposalChosen",
            reaction=None if is_good else "refuse",
            offer=[offer],
            answer=[ike(*base, *kinds)],
        )
