"""What the flags of ``ike_message_test.json`` mean, and what its readers must know.

Source: RFC 7296 §3, RFC 7296 §2.21
"""

from iketcp.vectorlib.envelope import Note

HEADER = [
    "IKE messages, without the non-ESP marker, and what is read from them.",
    "A group's protected tells where the payloads were. false: octets is the message as"
    " it comes, and what an SK payload holds stays encrypted. true: octets is a header"
    " and the payloads that were found inside the SK payload of an authentic message;"
    " Next Payload and Length of the header are made to fit. No keys are needed.",
    "fields is null where the message is to be refused. Otherwise header and payloads"
    " name every field, numbers as numbers and octets in hexadecimal. Counts, lengths"
    " and Last Substruc marks inside payloads are not repeated: they must agree with"
    " the lists. Reserved bits and the critical bit have no field, but for the reserved"
    " octets of IDi and IDr, which AUTH covers.",
    "In a transform, keyLength is the Key Length attribute in TV format, and"
    " otherAttributes has all others in their order. In a TS payload, selectors are"
    " those of TS Types 7 and 8, and otherSelectors all others, each in their order. In"
    " an N payload without SPI, protocolId is 0, whatever came. In SK and SKF,"
    " firstInnerType is the Next Payload field.",
    "encoded is what a sender writes for these fields; it differs from octets where"
    " reserved or critical bits are set. null: no sender writes them.",
    "error names the class of the failure: MalformedMessage, InvalidMajorVersion or"
    " UnsupportedCriticalPayload.",
    "reaction is what a receiver does; the TCP connection stays open in every case."
    " drop: no answer, and no state changes. answer: the Notify in answer goes back. In"
    " the clear this goes for a request that begins an IKE SA, or is of a later major"
    " version; nothing is kept, the answer is in the clear, and dropping such a message"
    " without an answer is as good (RFC 7296 §2.21.1, §3.10.1). answer-and-end-ike-sa:"
    " the Notify is the only payload of the protected response, and the IKE SA and its"
    " Child SAs end. end-ike-sa: a bad response is never answered, and as the peers no"
    " longer agree the IKE SA is ended, for example by a Delete.",
]

NOTES: dict[str, Note] = {
    "Attributes": {
        "bugType": "EDGE_CASE",
        "description": "Transform Attributes in both formats, known and unknown.",
        "effect": "A transform with an unknown attribute is chosen, or a good proposal"
        " beside it is refused.",
    },
    "Backwards": {
        "bugType": "EDGE_CASE",
        "description": "A range whose end lies before its start, and is not OPAQUE. We"
        " refuse the message; taking the range for empty is as good.",
        "effect": "Arithmetic below zero, or a selector that matches everything.",
    },
    "Chain": {
        "bugType": "DESYNC",
        "description": "Next Payload fields that do not fit the payloads there are.",
        "effect": "Reading behind the message, or not reading what was sent.",
    },
    "Configuration": {
        "bugType": "BASIC",
        "description": "Configuration payloads and the sizes of their attributes.",
        "effect": "No address, or one made of octets that belong elsewhere.",
    },
    "Counts": {
        "bugType": "DESYNC",
        "description": "A count that is not the number of things counted.",
        "effect": "Reading behind a payload, or believing less than was offered.",
    },
    "CriticalKnown": {
        "bugType": "EDGE_CASE",
        "description": "The critical bit on a payload type that all know means"
        " nothing.",
        "effect": "Refusing a good message.",
    },
    "Delete": {
        "bugType": "BASIC",
        "description": "Delete payloads: protocol, SPI Size and number of SPIs.",
        "effect": "An SA that should be gone stays, or another one goes.",
    },
    "Empty": {
        "bugType": "EDGE_CASE",
        "description": "A list that may be empty, and is.",
        "effect": "A liveness check or a request for configuration is refused.",
    },
    "Encrypted": {
        "bugType": "BASIC",
        "description": "SK and SKF as they travel: Next Payload is about the inside.",
        "effect": "The reader follows Next Payload past the end of the message.",
    },
    "EncryptedNotLast": {
        "bugType": "DESYNC",
        "description": "Something stands behind SK.",
        "effect": "Octets that no integrity check covers are believed.",
    },
    "EveryNumber": {
        "bugType": "BASIC",
        "description": "Each number that the RFC defines.",
        "effect": "An algorithm, identity or notification is not understood.",
    },
    "ExchangeLevel": {
        "bugType": "STATE_MACHINE",
        "description": "Well formed, but this exchange does not go so: a payload is"
        " missing or doubled, a number is wrong. The exchange refuses it; refusing it"
        " while reading is as good.",
        "effect": "The first or the last of two is believed, and the peer means the"
        " other one.",
    },
    "HeaderFields": {
        "bugType": "BASIC",
        "description": "The header's SPIs, flags, exchange and Message ID.",
        "effect": "The message goes to the wrong SA or exchange.",
    },
    "HeaderLength": {
        "bugType": "DESYNC",
        "description": "The header's Length is not the size of the message.",
        "effect": "Reading behind the message, or an integrity check over less than"
        " all of it.",
    },
    "LastSubstruc": {
        "bugType": "EDGE_CASE",
        "description": "Last Substruc contradicts the lengths. We refuse it; the RFC"
        " calls the field unnecessary, so ignoring it is as good.",
        "effect": "Two readers see two different offers.",
    },
    "Longest": {
        "bugType": "RESOURCE",
        "description": "As large, or as many, as the fields can say.",
        "effect": "Buffers that are too small, counts read as signed, or time that"
        " grows with the square of the size.",
    },
    "NestedEncrypted": {
        "bugType": "STATE_MACHINE",
        "description": "An Encrypted payload inside another one.",
        "effect": "Decrypting again and again what a peer nests.",
    },
    "NonceSize": {
        "bugType": "EDGE_CASE",
        "description": "Nonces at and beyond the limits of 16 and 256 octets.",
        "effect": "Keys from a nonce that is too small.",
    },
    "NotifySpi": {
        "bugType": "EDGE_CASE",
        "description": "Protocol ID, SPI Size and SPI of a Notify payload.",
        "effect": "SPI and data are taken for each other.",
    },
    "Open": {
        "bugType": "EDGE_CASE",
        "description": "The RFC does not say what a receiver does. We do what the test"
        " says.",
        "effect": "A crash or a hang is still a failure.",
    },
    "Order": {
        "bugType": "EDGE_CASE",
        "description": "Payloads in an order that the RFC does not show and allows.",
        "effect": "Refusing a good message.",
    },
    "Ordinary": {
        "bugType": "BASIC",
        "description": "What every IKE SA sends.",
        "effect": "No tunnel.",
    },
    "PayloadLength": {
        "bugType": "DESYNC",
        "description": "A Payload Length is not the size of its payload.",
        "effect": "Reading behind the message, or a loop without end at zero.",
    },
    "ProposalNum": {
        "bugType": "EDGE_CASE",
        "description": "Numbers of proposals: from 1 by one in an offer, the chosen one"
        " in an answer.",
        "effect": "Another proposal is agreed on than was meant.",
    },
    "Reactions": {
        "bugType": "STATE_MACHINE",
        "description": "The same error in every exchange, protected and in the clear.",
        "effect": "A stranger ends an SA, or two peers answer each other's errors.",
    },
    "ReservedBits": {
        "bugType": "EDGE_CASE",
        "description": "Bits that are reserved are set, and must be ignored.",
        "effect": "Refusing a message of a later version, or sending the bits back.",
    },
    "SaLength": {
        "bugType": "DESYNC",
        "description": "Lengths inside an SA payload contradict each other.",
        "effect": "Reading behind a proposal, or a loop without end at zero.",
    },
    "Selector": {
        "bugType": "BASIC",
        "description": "Traffic Selectors: addresses, protocols, ports, ICMP types.",
        "effect": "Packets in the wrong tunnel, or in none.",
    },
    "SelectorLength": {
        "bugType": "DESYNC",
        "description": "A Selector Length does not fit its TS Type or its payload.",
        "effect": "Addresses from octets that are not there.",
    },
    "Several": {
        "bugType": "BASIC",
        "description": "Several of what may be there several times.",
        "effect": "Only the first or the last is seen.",
    },
    "ShortBody": {
        "bugType": "DESYNC",
        "description": "A payload that is too short for its fixed fields.",
        "effect": "Reading fields that are not there, or the next payload's.",
    },
    "Sizes": {
        "bugType": "EDGE_CASE",
        "description": "Sizes from nothing to large.",
        "effect": "Off by one, or a limit that the RFC does not have.",
    },
    "SpiSize": {
        "bugType": "EDGE_CASE",
        "description": "SPIs of sizes that their protocol has, and has not.",
        "effect": "An SA under a wrong SPI.",
    },
    "TrailingOctets": {
        "bugType": "DESYNC",
        "description": "Octets behind the last payload, counted in the Length.",
        "effect": "Two readers see two different messages.",
    },
    "Truncated": {
        "bugType": "DESYNC",
        "description": "The message is cut off.",
        "effect": "Reading behind the message.",
    },
    "UnknownCritical": {
        "bugType": "STATE_MACHINE",
        "description": "A payload of unknown type that must not be skipped. The answer"
        " names its type.",
        "effect": "Going on without what the peer insists on.",
    },
    "UnknownNumber": {
        "bugType": "EDGE_CASE",
        "description": "A number that no document has, where reading goes on: it is"
        " kept, passed over or refused later.",
        "effect": "Refusing a message because of something that could be ignored.",
    },
    "UnknownPayload": {
        "bugType": "EDGE_CASE",
        "description": "A payload of unknown type that is to be skipped. An"
        " implementation that does not keep it compares the other payloads.",
        "effect": "Refusing a message of a later version.",
    },
    "Version": {
        "bugType": "STATE_MACHINE",
        "description": "Other versions: a higher major one is refused, the minor one"
        " and the Version flag are ignored.",
        "effect": "Reading a format that is not known, or refusing a later minor one.",
    },
}
