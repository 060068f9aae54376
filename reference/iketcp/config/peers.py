"""The tables ``[[peer]]``: what a responder has for each kind of peers.

What a table leaves out is as ``[local]``, ``[remote]``, ``[pool]`` and the secrets of
all say. A key goes over only where it means something beside the ``auth`` of the table.

Source: RFC 7296 §2.15, RFC 4301 §4.4.3
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_network
from itertools import combinations
from pathlib import Path
from typing import Any

from iketcp.config.eap import is_alone
from iketcp.config.proofs import OURS, THEIRS, credential_of, trust_of
from iketcp.config.psk import read_psk
from iketcp.config.reader import Document, Section
from iketcp.config.source import nearest
from iketcp.ike.credentials import Trust
from iketcp.ike.policy import ChildPolicy, IkePolicy, PoolPolicy

_OUR_NAMES = {"identity": "local_identity", "auth": "local_auth"}
"""Keys of [local] that are called otherwise in [[peer]]."""


@dataclass(frozen=True, slots=True)
class _OurSide(Section):
    """A table [[peer]] with the keys of [local]; errors name those of [[peer]]."""

    def error(self, key: str, sentence: str, item: object = None) -> Any:
        """Make the error for one key of this table."""
        return Section.error(self, _OUR_NAMES.get(key, key), sentence, item)


def connections(
    document: Document, folder: Path, usual: IkePolicy, warnings: list[str]
) -> tuple[IkePolicy, ...]:
    """Make a policy for each ``[[peer]]``, in their order.

    Parameters
    ----------
    usual : IkePolicy
        What the other tables say.
    folder : Path
        Where paths that are not absolute count from.

    Raises
    ------
    ConfigurationError
        A file cannot be read, keys do not go together, or a name is unknown or taken.

    Source: RFC 4301 §4.4.3
    """
    peers: dict[str, IkePolicy] = {}
    for section in document.all("peer"):
        name = section["name"]
        if name in peers:
            raise section.error("name", f"'{name}' is taken already")
        peers[name] = _connection(document, section, folder, usual, warnings)
    identity = document.one("remote")["identity"]
    if peers and document.role == "responder" and identity is not None:
        sentence = "says nothing beside [[peer]] tables, which have their own"
        raise document.one("remote").error("identity", sentence)
    _check_pools(document, (usual, *peers.values()))
    return tuple(peers.values())


def _connection(
    document: Document,
    section: Section,
    folder: Path,
    usual: IkePolicy,
    warnings: list[str],
) -> IkePolicy:
    ours, theirs = _our_side(document, section), _their_side(document, section)
    is_eap = theirs["auth"] == "eap"
    policy = replace(
        usual,
        name=section["name"],
        accepts=section["identity"],
        local_identity=ours["identity"],
        credential=credential_of(ours, folder, warnings),
        trust=Trust(frozenset()) if is_eap else trust_of(theirs, folder),
        eap_authenticator=usual.eap_authenticator if is_eap else None,
        children=_children(section, usual),
        pool=_pool(section, usual),
    )
    secret, complaints = read_psk(section, folder)
    warnings += complaints
    if secret is not None:
        return replace(policy, secrets={None: secret}, address_secrets={})
    has_one = policy.secrets or policy.address_secrets
    needs_one = "psk" in (theirs["auth"], ours["auth"])
    if needs_one and not has_one and not (is_eap and is_alone(document)):
        sentence = f"[[peer]] {policy.name} has no secret: give it a psk_file"
        raise section.source.error(section.path, sentence)
    return policy


def _our_side(document: Document, section: Section) -> Section:
    """Return the table as if it were [local]."""
    local = document.one("local")
    auth = section["local_auth"] or local["auth"]
    values = {
        "identity": section["local_identity"] or local["identity"],
        "auth": auth,
        "rsa_padding": local["rsa_padding"],
        **_own_or_inherited(section, local, OURS, auth),
    }
    return _OurSide(section.table, section.path, values, section.source)


def _their_side(document: Document, section: Section) -> Section:
    """Return the table as if it were [remote], for whoever it is about."""
    remote = document.one("remote")
    auth = section["auth"] or remote["auth"]
    values = {
        "identity": None,
        "auth": auth,
        "crls": _crls(section, remote),
        **_own_or_inherited(section, remote, THEIRS, auth),
    }
    return Section(section.table, section.path, values, section.source)


def _crls(section: Section, remote: Section) -> Any:
    """Return revocation lists: the usual ones are of the usual authorities."""
    if section["crls"] is None:
        return remote["crls"] if section["ca"] is None else ()
    return section["crls"]


def _own_or_inherited(
    section: Section, usual: Section, by_auth: dict[str, tuple[str, ...]], auth: str
) -> dict[str, Any]:
    """Return the keys that go with some ``auth``, from ``usual`` where they fit."""
    keys = {key for keys in by_auth.values() for key in keys}
    fitting = by_auth.get(auth, ())
    return {
        key: usual[key] if section[key] is None and key in fitting else section[key]
        for key in keys
    }


def _children(section: Section, usual: IkePolicy) -> tuple[ChildPolicy, ...]:
    """Choose the [[child]] tables that the peers may have.

    Where one wants an address assigned, there has to be one.
    """
    by_name = {child.name: child for child in usual.children}
    names = section["children"] or tuple(by_name)
    for name in names:
        if name not in by_name:
            hint = nearest(name, by_name)
            raise section.error("children", f"name no [[child]]: '{name}'{hint}", name)
    children = tuple(by_name[name] for name in dict.fromkeys(names))
    if _pool(section, usual) is None:
        for child in children:
            if child.is_narrowed_to_assigned_address:
                sentence = f"are needed for the addresses of [[child]] '{child.name}'"
                raise section.error("networks", sentence)
    return children


def _pool(section: Section, usual: IkePolicy) -> PoolPolicy | None:
    pool = usual.pool or PoolPolicy(())
    networks, dns = section["networks"], section["dns"]
    policy = PoolPolicy(
        pool.networks if networks is None else tuple(map(str, networks)),
        pool.dns_servers if dns is None else dns,
    )
    return policy if policy.networks else None


def _check_pools(document: Document, policies: tuple[IkePolicy, ...]) -> None:
    """Refuse pools that share a part: one address would have two owners."""
    pools = dict.fromkeys(p.pool.networks for p in policies if p.pool is not None)
    networks = [ip_network(text) for pool in pools for text in pool]
    for one, other in combinations(networks, 2):
        if one.version == other.version and one.overlaps(other):
            sentence = f"[[peer]] networks overlap: {one} and {other}"
            raise document.source.error(("peer",), sentence, str(other))
