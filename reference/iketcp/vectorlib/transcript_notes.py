"""What ``exchange_transcripts_test.json`` says about itself.

Source: RFC 7296 §2.14, RFC 7296 §2.17, RFC 9329 §6.1
"""

HEADER = [
    "Whole sessions between two peers: west begins and is the original initiator of the"
    " first IKE SA, east answers. Transcript: over TCP, where west opens the"
    " connections. DatagramTranscript: over UDP. Keys, nonces and passwords are for"
    " tests only.",
    "To test one side, configure it as west or east says, let it draw what entropy"
    " says, take the steps in order, and compare what it transmits with the steps whose"
    " sender it is. Its own transmissions are in the order in which it sent them; steps"
    " come when octets arrive, so another step of its own may stand before.",
    "preSharedKey is both sides' shared secret; the payloads sent depend on choices"
    " of ours too (their order, NAT detection, hash algorithms announced). An"
    " implementation with other choices uses the messages of one side as input only,"
    " or pins its keys and its decryption.",
    "authentication: null, preSharedKey both ways; else proof is this side's own proof"
    " and accepts those it takes. ECDSA signs without chance (its k comes of key and"
    " message, as EdDSA's does), and RSA with PKCS#1 v1.5. Not here: RSASSA-PSS, whose"
    " salt, and EAP-TLS, whose whole handshake, a library draws where no script"
    " reaches; nor EAP alone, for which of our methods only EAP-TLS will do.",
    "entropy: label#n is the n-th draw (from 0) of that label by that side, whatever"
    " was drawn in between. ike.spi, esp.spi and ike.nonce go to the wire as they are;"
    " ike.iv and esp.iv are the IVs of AES-CBC, all other IVs count from 1 (IKE: per"
    " IKE SA and sender; ESP: the sequence number). cookie.secret: only the responder"
    " can read its cookies.",
    "A draw ending in .private becomes a private key thus. MODP: the draw, big-endian,"
    " with its highest bit set. ECP: d = 1 + (draw mod (order - 1)), big-endian."
    " Curve25519 and Curve448: the draw as it is (RFC 7748 §5 clamps it). ML-KEM: the"
    " seed, d | z. One ending in .encapsulation is m of FIPS 203, with which a"
    " responder encapsulates. keyExchange.drawI and drawR name the draws of the"
    " exchange's initiator and responder.",
    "Steps. connect: west opens a connection, and both learn of it; seenAs: NATs show"
    " each end so to the other side. wish: begin (set up a session; a connect or path"
    " follows), rekey-child, delete-child (child names it), rekey-ike-sa, or delete"
    " (every session). packet: an inner packet comes out of a side's tunnel device."
    " transmit: octets of sender, arriving, or lost with their connection. deliver: an"
    " inner packet that a side must hand to its tunnel device now. close: side closes"
    " the connection. break: the connection breaks for both. crash: side loses"
    " everything but its configuration. time: so many seconds pass.",
    "Over UDP. path: west begins, from its port 500 to east's, and from 4500 to 4500"
    " later. datagram: octets of sender from source to target, arriving or lost."
    " fragment: a message in pieces, RFC 7383; the pieces of one messageId, joined in"
    " the order of their numbers, are the chain of payloads that ike would have shown,"
    " and firstPayload is that of the first. An IKE message of more than fragmentSize"
    " octets goes in fragments.",
    "transmit: stream is what TCP carries, message what is inside (IKE without the"
    " non-ESP marker). ike.payloads is the plain chain of payloads whose first is of"
    " type firstPayload, without padding; ikeSa is null in the clear. ikeSa and childSa"
    " are indices into ikeSas and childSas, replaces likewise. esp.innerPacket is the"
    " packet as its sender's device gave it; in transport mode ESP carries what stands"
    " behind its IP header.",
    "Keys: skeyseed = prf(ni | nr, gIr), or with replaces"
    " prf(skD, gIr | ni | nr) of the replaced SA's prf and SK_d; prf+(skeyseed, ni | nr"
    " | spiI | spiR) is cut into the seven. Child SAs: prf+(skD, gIr | ni | nr) is cut"
    " into encryption and integrity key to the responder, then to the initiator, of the"
    " exchange that made it; spi is what packets in that direction carry. A Child SA"
    " made in IKE_AUTH takes the nonces of its IKE SA. With EAP, both AUTH payloads at"
    " the end are made with msk, as with a pre-shared key.",
    "After IKE_INTERMEDIATE (RFC 9370) the same IKE SA stands in ikeSas once more, with"
    " its new keys: replaces is where it stood before, and skeyseed prf(skD, gIr | ni |"
    " nr) with the nonces of IKE_SA_INIT. furtherKeyExchanges of CREATE_CHILD_SA were"
    " made in IKE_FOLLOWUP_KE; their gIr, one behind the other, stand behind ni | nr in"
    " the formulas of rekeyed IKE SAs and of Child SAs.",
    "ppk (RFC 8784): in the place of skD, skPi and skPr come prf+(key, skD) and so on,"
    " each as long as before; all that IKE_AUTH proves and makes is of these, but for"
    " NO_PPK_AUTH.",
]

NOTES = {
    "Certificates": (
        "BASIC",
        "A side proves who it is by a certificate and a signature.",
        "No session between peers of one authority, or with anybody.",
    ),
    "ChildDelete": ("BASIC", "A Child SA is deleted.", "Half of a pair stays behind."),
    "ChildRekey": (
        "BASIC",
        "A Child SA is replaced, then deleted.",
        "Packets are lost at every rekey.",
    ),
    "Childless": (
        "STATE_MACHINE",
        "IKE_AUTH may do without a Child SA.",
        "An IKE SA without use, or one that is not taken.",
    ),
    "Collision": (
        "STATE_MACHINE",
        "Requests of both sides cross.",
        "SAs that only one side has, or two where there should be one.",
    ),
    "Configuration": (
        "BASIC",
        "The initiator is assigned an address (CP).",
        "Selectors that do not fit the address.",
    ),
    "Cookie": (
        "STATE_MACHINE",
        "The responder asks for a cookie first.",
        "No session with a responder that is careful.",
    ),
    "Crash": (
        "STATE_MACHINE",
        "Tokens that prove the loss of an IKE SA, given and shown.",
        "A peer that has crashed is waited for until requests time out.",
    ),
    "Datagrams": (
        "BASIC",
        "The session is over UDP.",
        "No session where TCP is not needed.",
    ),
    "Eap": (
        "STATE_MACHINE",
        "The initiator proves who it is by EAP, in rounds of IKE_AUTH.",
        "No session for users with passwords.",
    ),
    "Fragments": (
        "STATE_MACHINE",
        "Large IKE messages go in fragments.",
        "No session where IP fragments are dropped.",
    ),
    "FurtherChild": (
        "BASIC",
        "A second Child SA under the same IKE SA.",
        "One network pair only.",
    ),
    "Identity": (
        "BASIC",
        "Identities of other types than a domain name.",
        "An AUTH over another body of the ID payload.",
    ),
    "FurtherKeyExchange": (
        "STATE_MACHINE",
        "Key exchanges beside the first one: ML-KEM, or others.",
        "No session with keys that a quantum computer cannot find.",
    ),
    "IkeDelete": ("BASIC", "The IKE SA is deleted.", "State that nobody needs stays."),
    "IkeRekey": (
        "STATE_MACHINE",
        "The IKE SA is replaced; Child SAs and TCP roles stay.",
        "The session ends with its first key.",
    ),
    "ImplicitIv": (
        "BASIC",
        "The IV of ESP packets is their number, and is not sent.",
        "Packets that nobody can open.",
    ),
    "InvalidKe": (
        "STATE_MACHINE",
        "The responder wants another key exchange method.",
        "No session with a responder of other preferences.",
    ),
    "Liveness": (
        "BASIC",
        "An empty INFORMATIONAL and its empty answer.",
        "A dead peer is held for alive, or the reverse.",
    ),
    "Nat": (
        "BASIC",
        "NATs change the addresses of both ends.",
        "Selectors of addresses that the other side never sees.",
    ),
    "NullAuthentication": (
        "BASIC",
        "A side does not say who it is.",
        "An AUTH that anybody else on the way could have made.",
    ),
    "Ppk": (
        "BASIC",
        "The sides have a post-quantum preshared key.",
        "Keys without it, or no session with a peer that has none.",
    ),
    "Puzzle": (
        "STATE_MACHINE",
        "The responder gives a puzzle first.",
        "No session with a responder under load.",
    ),
    "RawPublicKeys": (
        "BASIC",
        "A side proves who it is by a key that the other knows.",
        "No session without certificates or secrets.",
    ),
    "Reconnection": (
        "STATE_MACHINE",
        "The TCP connection breaks and another takes over.",
        "The session ends with its connection.",
    ),
    "Refusal": (
        "STATE_MACHINE",
        "The responder refuses what is proposed.",
        "A half-made SA stays behind.",
    ),
    "Repetition": (
        "STATE_MACHINE",
        "A request that was under way is repeated octet for octet.",
        "A request is carried out twice, or never.",
    ),
    "Suite": (
        "BASIC",
        "Handshake, packets, both rekeys and DELETE with one suite.",
        "Peers that agree on a suite do not understand each other.",
    ),
    "TransportMode": (
        "BASIC",
        "ESP between two hosts without a second IP header.",
        "Packets with addresses or checksums that the host does not take.",
    ),
}
