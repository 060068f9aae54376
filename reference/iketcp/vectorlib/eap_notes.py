"""What the members and flags of ``eap_test.json`` mean.

Source: RFC 3748 §4, RFC 2759 §8
"""

HEADER = [
    "EapPacket: octets is a whole packet as it stands in the EAP payload of IKE; type"
    " is null in Success and Failure, and data the Type-Data.",
    "MschapV2: password (UTF-8), the user's name and both challenges; what comes of"
    " them by the names of the RFCs' pseudocode, challenge being ChallengeHash. msk is"
    " what the client sends with, then the server, then zeros, 64 octets.",
    "MschapV2Message: typeData is what stands behind Type 26, of a Request or a"
    " Response; challenge is that of the sender.",
    "EapTlsFragments: fragments, each the Type-Data of a packet of Type 13, come one"
    " after the other; flight is what they come to.",
    "EapConversation: the authenticator knows users and begins with messages[0]; the"
    " peer has name and password and takes EAP-MSCHAPv2 only. They speak in turn."
    " entropy has every draw by its label: peer.… and authenticator.….",
    "isIdentityAsked: the authenticator asks for the Identity first. isTlsFirst: it"
    " would rather have EAP-TLS. identity is the name that it goes by in the end.",
    "TLS draws its own randomness, so there are no conversations with EAP-TLS here.",
]

NOTES = {
    "Domain": (
        "EDGE_CASE",
        "A domain before the user's name; it is sent but not hashed.",
        "Users of a domain cannot come in.",
    ),
    "Freedom": (
        "EDGE_CASE",
        "A sender may cut and mark fragments in ways that ours does not.",
        "No EAP-TLS with peers of another make.",
    ),
    "Identity": ("BASIC", "The Identity is asked for first.", "No tunnel."),
    "Malformed": (
        "BASIC",
        "What cannot be read.",
        "Reading beyond the end, or an attacker's data taken for a proof.",
    ),
    "Nak": (
        "BASIC",
        "The peer refuses the first method and says which it takes.",
        "No tunnel where two methods are offered.",
    ),
    "Ordinary": ("BASIC", "As most are.", "No tunnel."),
    "Published": ("BASIC", "Values printed in RFCs.", "No peer interoperates."),
    "Reassembly": (
        "RESOURCE",
        "Fragments that do not come to what was announced, or to too much.",
        "Memory without bound, or octets taken from elsewhere.",
    ),
    "Size": (
        "EDGE_CASE",
        "The smallest or largest of its kind.",
        "Names or passwords cut short, or refused.",
    ),
    "Unicode": (
        "EDGE_CASE",
        "Letters beyond ASCII: passwords are hashed as UTF-16, names as they come.",
        "Users with such passwords cannot come in.",
    ),
    "WrongPassword": (
        "BASIC",
        "Name or password is wrong; the answer does not say which.",
        "Anybody is let in, or users can be guessed.",
    ),
}
