"""Runs message tests against our codec, both ways.

Octets are decoded and must give the fields, or the error; the fields are turned into
payloads and must encode to the octets that a sender writes.

Source: RFC 7296 §3, RFC 7296 §2.21
"""

from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from iketcp.errors import (
    IketcpError,
    InvalidMajorVersionError,
    MalformedMessageError,
    Scope,
)
from iketcp.ike.configuration import ConfigurationAttribute
from iketcp.ike.header import HEADER_SIZE, Header
from iketcp.ike.message import Message, decode_chain, decode_message, encode_message
from iketcp.ike.payloads import (
    AuthPayload,
    CertPayload,
    CertReqPayload,
    ConfigurationPayload,
    DeletePayload,
    EapPayload,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    PsPayload,
    SaPayload,
    SkfPayload,
    SkPayload,
    TsPayload,
    UnknownPayload,
    VendorPayload,
    decode_fragment,
)
from iketcp.ike.proposals import Proposal, Transform, TransformAttribute
from iketcp.octets import Reader
from iketcp.registry import ExchangeType, PayloadType
from iketcp.selectors import TrafficSelector, UnknownSelector

Fields = dict[str, Any]


def problems(document: Fields) -> list[str]:
    """Run every test of a message file and say what differs; empty if all agree."""
    return list(_problems(document))


def _problems(document: Fields) -> Iterator[str]:
    for group in document["testGroups"]:
        for test in group["tests"]:
            name = f"tcId {test['tcId']} ({test['comment']})"
            got = observe(bytes.fromhex(test["octets"]), group["protected"])
            for member, value in got.items():
                if value != test[member]:
                    yield f"{name}: {member} is {value}, not {test[member]}"
            if test["encoded"] is not None:
                octets = encode(test["fields"]).hex()
                if octets != test["encoded"]:
                    yield f"{name}: encoded as {octets}, not {test['encoded']}"


def observe(octets: bytes, is_protected: bool) -> Fields:
    """Decode a message; return what it holds, or how it is refused.

    Parameters
    ----------
    octets : bytes
        A message, without the non-ESP marker.
    is_protected : bool
        The payloads were inside an Encrypted payload.

    Source: RFC 7296 §3.1, RFC 7296 §2.21
    """
    try:
        if is_protected:
            header = Header.decode(octets)
            reader = Reader(octets, HEADER_SIZE)
            message = Message(header, decode_chain(header.next_payload, reader))
        else:
            message = decode_message(octets)
    except IketcpError as error:
        reaction = reaction_to(error, octets, is_protected)
        answer = None
        if reaction.startswith("answer"):
            answer = {"notifyType": error.notify, "data": error.notify_data.hex()}
        name = type(error).__name__.removesuffix("Error")
        return {"fields": None, "error": name, "reaction": reaction, "answer": answer}
    fields = fields_of(message)
    return {"fields": fields, "error": None, "reaction": None, "answer": None}


def reaction_to(error: IketcpError, octets: bytes, is_protected: bool) -> str:
    """Tell what we do about a message that cannot be read.

    Source: RFC 7296 §2.21, RFC 7296 §2.5
    """
    is_later = isinstance(error, InvalidMajorVersionError)
    try:
        # a later version is taken to lay its header out as this one does
        version = b"\x20" if is_later else octets[17:18]
        header = Header.decode(octets[:17] + version + octets[18:])
    except MalformedMessageError:
        return "drop"
    if is_later:
        return "drop" if header.is_response else "answer"
    if not is_protected:
        is_first = (
            header.exchange_type == ExchangeType.IKE_SA_INIT
            and header.is_original_initiator
            and not (header.is_response or header.message_id or any(header.spi_r))
        )
        return "answer" if is_first else "drop"
    if header.is_response:
        return "end-ike-sa"
    is_authenticating = header.exchange_type == ExchangeType.IKE_AUTH
    if is_authenticating or error.scope is Scope.IKE_SA:
        return "answer-and-end-ike-sa"
    return "answer"


# --- from our records to fields -------------------------------------------------------


def fields_of(message: Message) -> Fields:
    """Turn a message into the tree that the file has."""
    header = message.header
    return {
        "header": {
            "spiI": header.spi_i.hex(),
            "spiR": header.spi_r.hex(),
            "nextPayload": header.next_payload,
            "majorVersion": header.major_version,
            "minorVersion": header.minor_version,
            "exchangeType": header.exchange_type,
            "response": header.is_response,
            "initiator": header.is_original_initiator,
            "messageId": header.message_id,
            "length": header.length,
        },
        "payloads": [
            {"type": int(payload.payload_type)} | _members(payload)
            for payload in message.payloads
        ],
    }


def _members(payload: Payload) -> Fields:
    match payload:
        case SaPayload():
            return {"proposals": [_proposal_fields(p) for p in payload.proposals]}
        case KePayload():
            value = payload.public_value.hex()
            return {"method": payload.method, "publicValue": value}
        case IdPayload():
            reserved, data = payload.reserved.hex(), payload.data.hex()
            return {"idType": payload.id_type, "reserved": reserved, "data": data}
        case CertPayload():
            return {"encoding": payload.encoding, "data": payload.data.hex()}
        case CertReqPayload():
            authorities = payload.authorities.hex()
            return {"encoding": payload.encoding, "authorities": authorities}
        case AuthPayload():
            return {"method": payload.method, "data": payload.data.hex()}
        case NoncePayload():
            return {"nonce": payload.nonce.hex()}
        case NotifyPayload():
            return {
                "protocolId": payload.protocol,
                "notifyType": payload.notify_type,
                "spi": payload.spi.hex(),
                "data": payload.data.hex(),
            }
        case DeletePayload():
            spis = [spi.hex() for spi in payload.spis]
            return {"protocolId": payload.protocol, "spis": spis}
        case VendorPayload():
            return {"vendorId": payload.vendor_id.hex()}
        case _:
            return _more_members(payload)


def _more_members(payload: Payload) -> Fields:
    match payload:
        case TsPayload():
            known = [_selector_fields(s) for s in payload.selectors]
            other = [_other_selector_fields(s) for s in payload.unknown]
            return {"selectors": known, "otherSelectors": other}
        case SkPayload() | SkfPayload():
            inner = payload.first_inner_type
            return {"firstInnerType": inner, "body": payload.encode_body().hex()}
        case ConfigurationPayload():
            attributes = [
                {"attributeType": a.type, "value": a.value.hex()}
                for a in payload.attributes
            ]
            return {"cfgType": payload.type, "attributes": attributes}
        case EapPayload():
            return {"message": payload.message.hex()}
        case PsPayload():
            return {"solution": payload.solution.hex()}
        case UnknownPayload():
            return {"body": payload.body.hex()}
        case _:
            raise TypeError(f"no payload of a message: {type(payload).__name__}")


def _proposal_fields(proposal: Proposal) -> Fields:
    return {
        "proposalNum": proposal.number,
        "protocolId": proposal.protocol,
        "spi": proposal.spi.hex(),
        "transforms": [
            {
                "transformType": transform.type,
                "transformId": transform.id,
                "keyLength": transform.key_bits,
                "otherAttributes": [
                    {
                        "attributeType": attribute.type,
                        "format": "TV" if attribute.is_fixed else "TLV",
                        "value": attribute.value.hex(),
                    }
                    for attribute in transform.unknown_attributes
                ],
            }
            for transform in proposal.transforms
        ],
    }


def _selector_fields(selector: TrafficSelector) -> Fields:
    return {
        "tsType": 7 if selector.start_address.version == 4 else 8,
        "ipProtocolId": selector.ip_protocol,
        "startPort": selector.start_port,
        "endPort": selector.end_port,
        "startingAddress": selector.start_address.packed.hex(),
        "endingAddress": selector.end_address.packed.hex(),
    }


def _other_selector_fields(selector: UnknownSelector) -> Fields:
    return {
        "tsType": selector.ts_type,
        "ipProtocolId": selector.ip_protocol,
        "body": selector.body.hex(),
    }


# --- from fields to our records -------------------------------------------------------


def encode(fields: Fields) -> bytes:
    """Encode the message that a tree describes.

    Source: RFC 7296 §3.1
    """
    head = fields["header"]
    header = Header(
        spi_i=bytes.fromhex(head["spiI"]),
        spi_r=bytes.fromhex(head["spiR"]),
        exchange_type=head["exchangeType"],
        message_id=head["messageId"],
        is_response=head["response"],
        is_original_initiator=head["initiator"],
        major_version=head["majorVersion"],
        minor_version=head["minorVersion"],
    )
    return encode_message(header, [payload_of(each) for each in fields["payloads"]])


def payload_of(fields: Fields) -> Payload:
    """Turn a payload's fields into our record of it."""
    kind = fields["type"]
    make = _MAKERS.get(kind)
    if make is not None:
        return make(fields)
    return UnknownPayload(kind, _octets(fields["body"]))


_octets = bytes.fromhex


def _id(fields: Fields) -> Payload:
    return IdPayload(
        fields["type"] == PayloadType.IDI,
        fields["idType"],
        _octets(fields["data"]),
        _octets(fields["reserved"]),
    )


def _notify(fields: Fields) -> Payload:
    return NotifyPayload(
        fields["notifyType"],
        _octets(fields["data"]),
        fields["protocolId"],
        _octets(fields["spi"]),
    )


def _ts(fields: Fields) -> Payload:
    other = tuple(
        UnknownSelector(each["tsType"], each["ipProtocolId"], _octets(each["body"]))
        for each in fields["otherSelectors"]
    )
    known = tuple(_selector(each) for each in fields["selectors"])
    return TsPayload(fields["type"] == PayloadType.TSI, known, other)


def _selector(fields: Fields) -> TrafficSelector:
    address = IPv4Address if fields["tsType"] == 7 else IPv6Address
    return TrafficSelector(
        fields["ipProtocolId"],
        fields["startPort"],
        fields["endPort"],
        address(_octets(fields["startingAddress"])),
        address(_octets(fields["endingAddress"])),
    )


def _proposal(fields: Fields) -> Proposal:
    transforms = tuple(_transform(each) for each in fields["transforms"])
    spi = _octets(fields["spi"])
    return Proposal(fields["proposalNum"], fields["protocolId"], spi, transforms)


def _transform(fields: Fields) -> Transform:
    other = tuple(
        TransformAttribute(
            each["attributeType"], _octets(each["value"]), each["format"] == "TV"
        )
        for each in fields["otherAttributes"]
    )
    kind, id = fields["transformType"], fields["transformId"]
    return Transform(kind, id, fields["keyLength"], other)


def _cp(fields: Fields) -> Payload:
    attributes = tuple(
        ConfigurationAttribute(each["attributeType"], _octets(each["value"]))
        for each in fields["attributes"]
    )
    return ConfigurationPayload(fields["cfgType"], attributes)


_MAKERS: Mapping[int, Callable[[Fields], Payload]] = {
    PayloadType.SA: lambda f: SaPayload(tuple(map(_proposal, f["proposals"]))),
    PayloadType.KE: lambda f: KePayload(f["method"], _octets(f["publicValue"])),
    PayloadType.IDI: _id,
    PayloadType.IDR: _id,
    PayloadType.CERT: lambda f: CertPayload(f["encoding"], _octets(f["data"])),
    PayloadType.CERTREQ: lambda f: CertReqPayload(
        f["encoding"], _octets(f["authorities"])
    ),
    PayloadType.AUTH: lambda f: AuthPayload(f["method"], _octets(f["data"])),
    PayloadType.NONCE: lambda f: NoncePayload(_octets(f["nonce"])),
    PayloadType.NOTIFY: _notify,
    PayloadType.DELETE: lambda f: DeletePayload(
        f["protocolId"], tuple(map(_octets, f["spis"]))
    ),
    PayloadType.VENDOR: lambda f: VendorPayload(_octets(f["vendorId"])),
    PayloadType.TSI: _ts,
    PayloadType.TSR: _ts,
    PayloadType.SK: lambda f: SkPayload(f["firstInnerType"], _octets(f["body"])),
    PayloadType.SKF: lambda f: decode_fragment(
        f["firstInnerType"], Reader(_octets(f["body"]))
    ),
    PayloadType.CP: _cp,
    PayloadType.EAP: lambda f: EapPayload(_octets(f["message"])),
    PayloadType.PS: lambda f: PsPayload(_octets(f["solution"])),
}
