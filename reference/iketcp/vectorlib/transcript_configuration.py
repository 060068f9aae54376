"""The configuration of a recorded session in neutral terms, and our policies from it.

The words are those of the RFC and the numbers IANA's, so that a reader can set up any
implementation with them. Our own policies are made from these, never the reverse:
nothing that the session depends on can be missing.

Source: RFC 7296 §3.3, RFC 7296 §3.5, RFC 7296 §3.13.1
"""

from collections.abc import Sequence
from ipaddress import ip_address

from iketcp.ike.credentials import Ppk
from iketcp.ike.identity import Identity
from iketcp.ike.keywords import parse_esp_proposal, parse_ike_proposal
from iketcp.ike.policy import Childless, ChildPolicy, IkePolicy, Lifetime, PoolPolicy
from iketcp.ike.proposals import Proposal, Transform
from iketcp.registry import IdType, ProtocolId
from iketcp.selectors import TrafficSelector
from iketcp.vectorlib.envelope import Json
from iketcp.vectorlib.transcript_authentication import proofs_of

NOBODY = Identity(IdType.ID_NULL, b"")
"""Who does not say who he is. Source: RFC 7619 §2.2."""

_NEVER = 1 << 30
"""More half-open IKE SAs than there ever are."""


def party(
    identity: str,
    ike: tuple[str, ...],
    children: list[Json],
    *,
    requested_families: tuple[int, ...] = (),
    pool: Json | None = None,
    requires_cookie: bool = False,
    liveness_seconds: int | None = None,
    authentication: Json | None = None,
    puzzle_difficulty: int | None = None,
    crash_secret: bytes = b"",
    ppks: Sequence[Json] = (),
    childless: str = Childless.NEVER.value,
) -> Json:
    """Describe one side of a session; proposals are given by keyword.

    An empty identity is that of somebody who does not say who he is. Source: RFC 7619
    §2.2.
    """
    found = Identity.parse(identity) if identity else NOBODY
    return {
        "identity": {"type": found.id_type, "data": found.data.hex()},
        "ikeProposals": [_transforms(parse_ike_proposal(text)) for text in ike],
        "children": children,
        "requestedFamilies": list(requested_families),
        "pool": pool,
        "requiresCookie": requires_cookie,
        "livenessSeconds": liveness_seconds,
        "authentication": authentication,
        "puzzleDifficulty": puzzle_difficulty,
        "crashSecret": crash_secret.hex(),
        "ppks": list(ppks),
        "childless": childless,
    }


def ppk(id: str, key: bytes, *, is_mandatory: bool = False) -> Json:
    """Describe a post-quantum preshared key of one side. Source: RFC 8784 §2."""
    return {"id": id.encode().hex(), "key": key.hex(), "isMandatory": is_mandatory}


def child(
    esp: str,
    local: str,
    remote: str,
    name: str = "net",
    follows: bool = False,
    mode: str = "tunnel",
) -> Json:
    """Describe a Child SA of one side."""
    return {
        "name": name,
        "mode": mode,
        "espProposals": [_transforms(parse_esp_proposal(esp))],
        "localTs": [selector(TrafficSelector.parse(local))],
        "remoteTs": [selector(TrafficSelector.parse(remote))],
        "followsAssignedAddress": follows,
    }


def _transforms(proposal: Proposal) -> list[Json]:
    return [
        {"type": int(one.type), "id": int(one.id), "keyBits": one.key_bits}
        for one in proposal.transforms
    ]


def selector(ts: TrafficSelector) -> Json:
    """Describe a Traffic Selector. Source: RFC 7296 §3.13.1."""
    return {
        "ipProtocol": ts.ip_protocol,
        "startPort": ts.start_port,
        "endPort": ts.end_port,
        "startAddress": str(ts.start_address),
        "endAddress": str(ts.end_address),
    }


def policy_of(
    ours: Json, theirs: Json, secret: bytes, is_fragmented: bool = False
) -> IkePolicy:
    """Make the policy of one side.

    Parameters
    ----------
    ours, theirs : Json
        The two sides as :func:`party` describes them.
    secret : bytes
        The pre-shared key of both.
    is_fragmented : bool
        Large IKE messages may go in fragments.
    """
    remote = _identity(theirs)
    expected = None if remote == NOBODY else remote
    pool, difficulty = ours["pool"], ours["puzzleDifficulty"]
    return IkePolicy(
        proposals=_proposals(ours["ikeProposals"], ProtocolId.IKE),
        local_identity=_identity(ours),
        remote_identity=expected,
        secrets={remote: secret},
        children=tuple(_child_policy(one) for one in ours["children"]),
        lifetime=Lifetime(seconds=None),
        liveness_seconds=ours["livenessSeconds"],
        request_families=tuple(ours["requestedFamilies"]),
        pool=None
        if pool is None
        else PoolPolicy(tuple(pool["networks"]), tuple(pool["nameServers"])),
        is_cookie_required=ours["requiresCookie"],
        is_fragmentation_supported=is_fragmented,
        puzzle_threshold=_NEVER if difficulty is None else 0,
        puzzle_difficulty=difficulty or 0,
        crash_secret=bytes.fromhex(ours["crashSecret"]),
        ppks=tuple(map(_ppk, ours["ppks"])),
        childless=Childless(ours["childless"]),
        **proofs_of(ours["authentication"], expected),
    )


def _ppk(one: Json) -> Ppk:
    id, key = bytes.fromhex(one["id"]), bytes.fromhex(one["key"])
    return Ppk(id, key, is_mandatory=one["isMandatory"])


def _identity(side: Json) -> Identity:
    found = side["identity"]
    return Identity(found["type"], bytes.fromhex(found["data"]))


def _proposals(offers: list[list[Json]], protocol: int) -> tuple[Proposal, ...]:
    return tuple(
        Proposal(
            number,
            protocol,
            b"",
            tuple(Transform(t["type"], t["id"], t["keyBits"]) for t in transforms),
        )
        for number, transforms in enumerate(offers, 1)
    )


def _child_policy(one: Json) -> ChildPolicy:
    return ChildPolicy(
        name=one["name"],
        proposals=_proposals(one["espProposals"], ProtocolId.ESP),
        local_ts=tuple(map(_selector, one["localTs"])),
        remote_ts=tuple(map(_selector, one["remoteTs"])),
        lifetime=Lifetime(seconds=None),
        is_transport=one["mode"] == "transport",
        is_narrowed_to_assigned_address=one["followsAssignedAddress"],
    )


def _selector(ts: Json) -> TrafficSelector:
    return TrafficSelector(
        ts["ipProtocol"],
        ts["startPort"],
        ts["endPort"],
        ip_address(ts["startAddress"]),
        ip_address(ts["endAddress"]),
    )
