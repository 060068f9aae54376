"""From checked values to the records that the program works with.

Here is also checked what one key alone cannot show to be wrong.

Source: RFC 7296 §2.8, RFC 7296 §2.15, RFC 7296 §2.19
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path

from iketcp.config.dataplane import check_dataplane
from iketcp.config.eap import eap_authenticator, eap_peer
from iketcp.config.model import (
    Configuration,
    ControlConfig,
    HooksConfig,
    LocalConfig,
    LogConfig,
    RemoteConfig,
    Role,
    TransportConfig,
    TunConfig,
    UdpConfig,
)
from iketcp.config.peers import connections
from iketcp.config.ppk import read_ppks
from iketcp.config.proofs import own_credential, read_secrets, trust_in_peers
from iketcp.config.psk_table import Secrets
from iketcp.config.reader import Document, Section
from iketcp.config.tls import proxy, tls
from iketcp.ike.policy import (
    Childless,
    ChildPolicy,
    IkePolicy,
    Lifetime,
    PoolPolicy,
)
from iketcp.ike.proposals import Proposal, Transform
from iketcp.ike.retransmission import RetransmissionPolicy
from iketcp.registry import ExtendedSequenceNumbers, TransformType


def build(document: Document, folder: Path) -> Configuration:
    """Make the configuration out of its checked tables.

    Parameters
    ----------
    document : Document
        Every table.
    folder : Path
        Where paths that are not absolute count from.

    Raises
    ------
    ConfigurationError
        Values that are right by themselves do not go together, or a secret cannot be
        read.
    """
    role = document.role
    check_dataplane(document)
    warnings: list[str] = []
    secrets = read_secrets(document, folder, warnings)
    credential = own_credential(document, folder, warnings)
    trust = trust_in_peers(document, folder)
    eap = eap_peer(document, folder, warnings)
    eap_users = eap_authenticator(document, folder, warnings)
    local, remote = document.one("local"), document.one("remote")
    ike = replace(
        _ike(document, secrets),
        credential=credential,
        trust=trust,
        ppks=read_ppks(document, folder, warnings),
        eap_peer=eap,
        eap_authenticator=eap_users,
        is_eap_second=document.one("eap")["second"],
    )
    peers = connections(document, folder, ike, warnings)
    return Configuration(
        role=role,
        local=LocalConfig(
            local["identity"],
            local["address"],
            local["port"] if role == "responder" else 0,
        ),
        remote=RemoteConfig(remote["address"], remote["port"], remote["identity"]),
        ike=replace(ike, connections=peers),
        transport=_transport(document.one("transport")),
        tls=tls(document, folder, warnings),
        proxy=proxy(document, folder, warnings),
        udp=_udp(document.one("udp")),
        tun=_tun(document.one("tun"), folder),
        hooks=_hooks(document.one("hooks"), folder, warnings),
        control=_control(document.one("control"), role, folder),
        log=_log(document.one("log"), folder),
        crash_secret_file=_in_folder(document.one("ike")["crash_secret_file"], folder),
        prepared_keys=document.one("ike")["prepared_keys"],
        warnings=tuple(warnings),
    )


def default_control_socket(role: str) -> Path:
    """Return where a peer answers ``iketcp status`` unless told otherwise.

    Under ``/run`` where that can be written, else under ``$XDG_RUNTIME_DIR``, and
    under ``/run`` after all where that is not set.
    """
    system = Path("/run")
    own = os.environ.get("XDG_RUNTIME_DIR")
    folder = system if os.access(system, os.W_OK) or not own else Path(own)
    return folder / f"iketcp-{role}.sock"


def _ike(document: Document, secrets: Secrets) -> IkePolicy:
    ike = document.one("ike")
    return IkePolicy(
        proposals=_numbered(ike),
        local_identity=document.one("local")["identity"],
        remote_identity=document.one("remote")["identity"],
        secrets=secrets.by_identity,
        address_secrets=secrets.by_network,
        children=_children(document),
        lifetime=_lifetime(ike),
        reauthentication=replace(_lifetime(ike), seconds=ike["reauth_time"]),
        request_timeout_seconds=ike["request_timeout"],
        retransmission=_retransmission(document.one("udp")),
        liveness_seconds=ike["liveness"],
        request_families=tuple(dict.fromkeys(ike["request_addresses"])),
        pool=_pool(document.one("pool")),
        is_cookie_required=ike["cookies"],
        puzzle_threshold=ike["puzzle_threshold"],
        puzzle_difficulty=ike["puzzle_difficulty"],
        is_fragmentation_supported=ike["fragmentation"],
        half_open_seconds=ike["half_open"],
        unique=ike["unique"],
        childless=_childless(ike, document.role),
    )


def _childless(section: Section, role: Role) -> Childless:
    """Refuse a word that says nothing for this role. Source: RFC 6023 §3."""
    wish = Childless(section["childless"])
    is_responders = wish is Childless.ALLOW
    if wish is not Childless.NEVER and is_responders != (role == "responder"):
        sentence = f'of "{wish.value}" is not for the {role}'
        raise section.error("childless", sentence)
    return wish


def _retransmission(section: Section) -> RetransmissionPolicy:
    for key, most in (("repeat_first", "repeat_max"), ("repeat_max", "repeat_total")):
        if section[key] > section[most]:
            raise section.error(key, f"must not be more than {most}")
    return RetransmissionPolicy(
        section["repeat_first"], section["repeat_max"], section["repeat_total"]
    )


def _numbered(section: Section) -> tuple[Proposal, ...]:
    """Assign Proposal Num from 1. Source: RFC 7296 §3.3.1."""
    return tuple(
        replace(proposal, number=number)
        for number, proposal in enumerate(section["proposals"], 1)
    )


def _lifetime(section: Section) -> Lifetime:
    return Lifetime(
        seconds=section["lifetime"],
        octets=section.values.get("lifetime_octets"),
        packets=section.values.get("lifetime_packets"),
        jitter=section["lifetime_jitter"],
        grace=section["lifetime_grace"],
    )


def _children(document: Document) -> tuple[ChildPolicy, ...]:
    children: dict[str, ChildPolicy] = {}
    for section in document.all("child"):
        name = section["name"]
        if name in children:
            raise section.error("name", f"'{name}' is taken already")
        _check_assigned(section, document)
        _check_replay_window(section)
        children[name] = ChildPolicy(
            name=name,
            proposals=_numbered(section),
            local_ts=section["local_ts"],
            remote_ts=section["remote_ts"],
            lifetime=_lifetime(section),
            replay_window=section["replay_window"],
            tfc_pad_to=section["tfc_pad_to"],
            is_transport=section["mode"],
            is_narrowed_to_assigned_address=section["assigned"],
        )
    if not children:
        raise document.source.error(("child",), "there must be at least one [[child]]")
    return tuple(children.values())


def _check_assigned(section: Section, document: Document) -> None:
    """Refuse `assigned` where no address is asked for, no pool is there, no tunnel.

    Source: RFC 7296 §2.19
    """
    if not section["assigned"]:
        return
    if section["mode"]:
        raise section.error("assigned", "goes with tunnel mode only")
    if document.role == "initiator" and not document.one("ike")["request_addresses"]:
        raise section.error("assigned", "needs [ike] request_addresses")
    pools = (document.one("pool").is_present, *_networks_of_peers(document))
    if document.role == "responder" and not any(pools):
        raise section.error("assigned", "needs a [pool] to assign addresses from")


def _networks_of_peers(document: Document) -> Iterator[bool]:
    """Tell of each [[peer]] whether it has addresses of its own to assign."""
    return (peer["networks"] is not None for peer in document.all("peer"))


def _check_replay_window(section: Section) -> None:
    """Without the window nobody can tell the upper half of extended numbers.

    Source: RFC 4303 §3.3.3
    """
    esn = Transform(TransformType.ESN, ExtendedSequenceNumbers.ESN)
    if section["replay_window"] == 0 and any(
        esn in proposal.transforms for proposal in section["proposals"]
    ):
        sentence = "of 0 needs '-noesn' in every proposal of this [[child]]"
        raise section.error("replay_window", sentence)


def _pool(section: Section) -> PoolPolicy | None:
    if not section.is_present:
        return None
    for one, other in combinations(section["networks"], 2):
        if one.version == other.version and one.overlaps(other):
            raise section.error("networks", f"overlap: {one} and {other}", str(other))
    return PoolPolicy(tuple(map(str, section["networks"])), section["dns"])


def _transport(section: Section) -> TransportConfig:
    for key, most in (
        ("reconnect_first", "reconnect_max"),
        ("half_open_limit_per_address", "half_open_limit"),
    ):
        if section[key] > section[most]:
            raise section.error(key, f"must not be more than {most}")
    # a field is called like its key, with the unit behind it
    units = "_(seconds|octets)$"
    return TransportConfig(
        **{
            field.name: section[re.sub(units, "", field.name)]
            for field in fields(TransportConfig)
        }
    )


def _udp(section: Section) -> UdpConfig:
    for ours, other in (
        ("ike_port", "encapsulation_port"),
        ("remote_ike_port", "remote_encapsulation_port"),
    ):
        if section[ours] and section[ours] == section[other]:
            raise section.error(ours, f"must not be {other}, too")
    return UdpConfig(
        ike_port=section["ike_port"],
        encapsulation_port=section["encapsulation_port"],
        remote_ike_port=section["remote_ike_port"],
        remote_encapsulation_port=section["remote_encapsulation_port"],
        keepalive_seconds=section["keepalive"],
        fragment_size=section["fragment_size"],
    )


def _tun(section: Section, folder: Path) -> TunConfig:
    return TunConfig(
        mode=section["mode"],
        dataplane=section["dataplane"],
        name=section["name"],
        mtu=section["mtu"],
        offloads=section["offloads"],
        addresses=section["addresses"],
        routes=section["routes"],
        resolv_conf=_in_folder(section["resolv_conf"], folder),
    )


def _hooks(section: Section, folder: Path, warnings: list[str]) -> HooksConfig:
    """Find programs that do not run now rather than when the tunnel comes up."""
    for key in ("up", "down"):
        program = _in_folder(section[key], folder)
        if program is None:
            continue
        if not (program.is_file() and os.access(program, os.X_OK)):
            raise section.error(key, f"names {program}, which is no program")
        mode = stat.S_IMODE(program.stat().st_mode)
        if mode & stat.S_IWOTH:
            warnings.append(
                f"{program} can be changed by every user (mode {mode:04o}) and is run "
                f"by this one; run: chmod o-w {program}"
            )
    return HooksConfig(
        _in_folder(section["up"], folder),
        _in_folder(section["down"], folder),
        section["timeout"],
    )


def _control(section: Section, role: Role, folder: Path) -> ControlConfig:
    socket = section["socket"]
    if socket == "auto":
        return ControlConfig(default_control_socket(role))
    return ControlConfig(_in_folder(socket, folder))


def _log(section: Section, folder: Path) -> LogConfig:
    return LogConfig(
        section["level"], _in_folder(section["file"], folder), section["format"]
    )


def _in_folder(path: Path | None, folder: Path) -> Path | None:
    return None if path is None else folder / path
