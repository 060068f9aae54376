"""What a reader of the mapping scenarios is told: the header and the flags.

Source: RFC 9329 §6.1
"""

HEADER = [
    "Each test is a script for one endpoint, the endpoint under test, which is the"
    " TCP Originator of all its sessions or the TCP Responder of all"
    " (isTcpOriginator). It is given sessions, each an IKE SA and one Child SA, as"
    " they are after an unexpected loss: installed, idle, and without a connection."
    " Then the steps happen in order; in each, first the event, then what must be seen"
    " of it (expect). Nothing else may be seen.",
    "All keys and nonces are for tests only. SK_ai and SK_ar do not exist, for the"
    " cipher of every IKE SA and Child SA is the group's, with the salt at the end of"
    " its key; the prf is PRF_HMAC_SHA2_256 (5) and the key exchange Curve25519 (31)."
    " ikeTransforms and espTransforms are the one proposal that the endpoint makes and"
    " accepts, in this order. A Child SA has no key exchange of its own and no"
    " extended sequence numbers.",
    "ikeSa: isOriginalInitiator is the endpoint's own role. nextMessageId is that of"
    " its next request, expectedMessageId that of the peer's. lastResponse is what it"
    " answered to the request before that one: the IKE message, without Length and"
    " zero octets. lastIv is the IV of that message as a number; the endpoint's later"
    " IVs count up from there, 8 octets each. isFragmentationAgreed: both sent"
    " IKEV2_FRAGMENTATION_SUPPORTED, so IKE fragments are taken; none is sent over"
    " TCP.",
    "childSa: the endpoint receives on spiIn and sends on spiOut. lastSent is its"
    " last sequence number; its next packet has the one after that, and its IV is the"
    " sequence number in 8 octets. All numbers up to highestReceived have been seen;"
    " replayWindow is the width of the window in packets.",
    "policy: limits that the RFC leaves open, in seconds and counts. Connections:"
    " firstMessageSeconds: from a connection to its first valid message or an"
    " IKE_SA_INIT request that begins an IKE SA, for which halfOpenSeconds count"
    " from then on. cookieSeconds: from the first COOKIE request until the"
    " connection closes, in place of firstMessageSeconds. extraneousSeconds: how"
    " long a replaced connection may idle, from when the session moved away or its"
    " last valid message, whichever is later (0: for ever). lingerSeconds: from the"
    " end of a session until the TCP Responder closes. reconnectSeconds: the pause"
    " before the second attempt, which doubles up to reconnectLimitSeconds, and of"
    " which half at most is taken off at random (the first attempt comes at once,"
    " and the count begins anew after a connection that brought a valid message and"
    " lasted for reconnectSeconds).",
    "policy, counts: unknownSpiLimit: so many ESP packets in a row may have unknown"
    " SPIs, one more closes the connection; an SPI is known for a while after its"
    " Child SA has ended, and from when the endpoint has proposed it in a request"
    " that waits for its answer. corruptLimit: so many messages in a row that are"
    " neither ESP nor an IKE message for one of the endpoint's IKE SAs close the"
    " connection; among them are IKE messages that cannot be parsed, and IKE_SA_INIT"
    " requests that are refused without an answer for what is in them, but not those"
    " for which the endpoint has no room. In a row means: since the last valid"
    " message; what does not count here (keepalives, empty messages, replays,"
    " retransmissions) does not begin the count anew. halfOpenLimit and"
    " halfOpenAddressLimit: so many connections without a valid message, in all and"
    " from one address, and, counted apart, so many IKE SAs without IKE_AUTH.",
    "policy, exchanges: requestTimeoutSeconds: from the first time a request is"
    " sent until its IKE SA ends for want of an answer, and from the first IKE"
    " fragment of a message until what came of it is given up. livenessSeconds: from"
    " the last protected message until an empty INFORMATIONAL request (null: never)."
    " halfOpenSeconds: from IKE_SA_INIT to IKE_AUTH. isCookieRequired: a COOKIE is"
    " asked of every initiator. puzzleThreshold: with so many IKE SAs without"
    " IKE_AUTH, a COOKIE and a PUZZLE of puzzleDifficulty zero bits are. Not in this"
    " list: an exchange that met TEMPORARY_FAILURE is tried again 5 to 10 s later;"
    " an IKE fragment whose Total Fragments is above 256 ends its IKE SA; SAs never"
    " grow too old, and are rekeyed by a wish only.",
    "A valid message is one that is authentic, new and inside its window: an ESP"
    " packet that is no replay, an IKE message that is no retransmission, an IKE"
    " fragment that completes one. Before there are keys, the response that the"
    " endpoint's own IKE_SA_INIT request waits for is one; an IKE_SA_INIT request is"
    " none, for it proves nothing, and leaves its connection among those without a"
    " valid message.",
    "A session whose connection is lost goes back to an older one of its"
    " connections that is still open, the one with the latest valid message; a TCP"
    " Originator has none, for it closes the old one when the new one is open. A TCP"
    " Originator whose peer deletes the session closes the connection and begins"
    " anew, after a pause that begins at reconnectSeconds.",
    "resyncLimit: how often a connection may search for the next message when its"
    " framing is lost (0: never, it closes at once). resyncOctets: a search that has"
    " seen so many octets is given up. Length 0 or 1 closes the connection at once,"
    " and one without a valid message is not searched. A search begins with the"
    " Length of the message that could not be read. A candidate is an ESP SPI of the"
    " session's with a sequence number that would be taken, or four zero octets and"
    " the first half of an SPIi of the session's; the two octets before it are its"
    " Length. The first one whose ICV verifies is the next message: the octets"
    " before it are skipped, and the stream goes on as ever. With the 65th candidate"
    " the search is given up as well.",
    "draws: the unpredictable octets that the endpoint uses, in order for each label,"
    " also those of an IKE SA that comes to nothing. Let your random source give them"
    " out, or the octets sent cannot agree: ike.spi and esp.spi (its SPIs),"
    " ike.nonce, rekey_ike_sa.ke.private and ike_sa_init.ke.private (private keys of"
    " Curve25519, as they stand), cookie.secret. A cookie is one octet, the secret's"
    " version from 1, and HMAC-SHA-256 with the secret over Ni, the initiator's address"
    " (4 or 16 octets) and SPIi. A cookie that comes with a PUZZLE has the three octets"
    " of its data between the two, and the key is HMAC-SHA-256 with the secret over"
    " those three; when it has led to an IKE SA, it leads to no other.",
    "event open: a TCP connection opens, by the TCP Originator; local is the"
    " endpoint's own end. lost: it breaks, or the peer closes it. failed: the TCP"
    " Originator's attempt to connect failed. receive: octets arrive on it. time: so"
    " many seconds pass, and all that is due by then, to the second, happens; at all"
    " other events the clock stands. packet: the endpoint's own network has an IP"
    " packet for the peer's. wish: the endpoint's user wants an exchange begun: begin"
    " (a session, as TCP Originator and original initiator), liveness (an empty"
    " INFORMATIONAL), rekey-child, rekey-ike-sa, delete (of everything).",
    "content says what octets are, one entry for each message, in order; size counts"
    " its octets with the Length. kinds: prefix, keepalive, empty, ike, fragment (an"
    " IKE message with an Encrypted Fragment payload), esp, and"
    " octets for all that is no whole message (meaning says what it is). isAuthentic:"
    " whether it verifies under the session's keys; null for an IKE message in the"
    " clear. A message that does not verify shows no payloads, nextHeader or inner"
    " packet. payloads are the IKE payloads inside, with their bodies; of a malformed"
    " one, none. number and total are Fragment Number and Total Fragments; piece is"
    " what stands in a fragment, a part of the payloads of the whole message, of which"
    " firstInnerPayload in the first fragment names the first.",
    "expect.sent: the messages in order, on which connection; a response and a"
    " repeated request in one step may change places. With isExact, no other octets"
    " are right: they were sent before. Without, octets are those of an endpoint that"
    " uses draws and IVs as above and writes payloads in this order; another one"
    " compares content: the header fields, the inner packet, and the payloads as far"
    " as they do not follow from what it drew itself; Notify payloads of status types"
    " in IKE_SA_INIT are its own affair.",
    "expect.closed: connections that the endpoint closes. reconnect: it asks for a"
    " new connection after a pause of least to most seconds. delivered: inner packets"
    " handed to its own network, in order. dropped: messages and packets that are"
    " dropped, by reason, for implementations that count them (skipped-octets counts"
    " octets, not-wanted connections). open: all connections"
    " open afterwards. sessions: all sessions afterwards, oldest first: the connection"
    " each is on (null: none), its IKE SAs, and its Child SAs by spiIn, sorted. An IKE"
    " SA that IKE_SA_INIT has begun counts; its spiR is zero as long as the endpoint"
    " does not know it.",
    "result: valid, all is in order; invalid, something in the script has to be"
    " refused: error is our name for the reason, and reaction is drop, answer (an"
    " error Notify), close-connection (the session lives on) or end-ike-sa (the"
    " connection stays). acceptable: the RFC leaves the outcome or the number open,"
    " and the test shows ours.",
]

NOTES = {
    "BothConnections": (
        "STATE_MACHINE",
        "Two connections of one session are open at once.",
        "Packets that were on their way are lost, or answers go to a dead connection.",
    ),
    "Cookie": (
        "RESOURCE",
        "A COOKIE is asked for in IKE_SA_INIT.",
        "Beginners who change their port are locked out, or idle ones held open.",
    ),
    "Cut": (
        "DESYNC",
        "A connection breaks inside a message.",
        "A message is put together from two streams.",
    ),
    "Delete": (
        "STATE_MACHINE",
        "A session ends with DELETE.",
        "Connections that stay for ever, or keys that do.",
    ),
    "FirstExchange": (
        "STATE_MACHINE",
        "IKE_SA_INIT that does not lead straight on.",
        "A beginner is turned away, or kept for ever.",
    ),
    "Forged": (
        "BASIC",
        "A message for a known SA whose ICV does not verify.",
        "A forger takes the session over, or ends it.",
    ),
    "Fragments": (
        "STATE_MACHINE",
        "An IKE message comes in fragments.",
        "Half a message moves a session, or one that never becomes whole is kept.",
    ),
    "Garbage": (
        "DESYNC",
        "Messages that are neither IKE nor ESP for any SA.",
        "A stream out of step is read for ever, or ends the session.",
    ),
    "HalfOpen": (
        "RESOURCE",
        "A connection that has not shown a valid message.",
        "Strangers use up all connections.",
    ),
    "Idle": (
        "RESOURCE",
        "Connections on which nothing happens.",
        "Connections pile up, or one that is needed is closed.",
    ),
    "Keepalive": (
        "BASIC",
        "NAT keepalives and empty messages inside the stream.",
        "Noise that is taken for news, or for corruption.",
    ),
    "MustNot": (
        "BASIC",
        "The script offers a chance to do what the rule forbids; it is obeyed by what"
        " does not happen.",
        "An implementation that does what it should, and what it should not as well.",
    ),
    "NewAddress": (
        "STATE_MACHINE",
        "A session comes back from another address or port.",
        "A mobile peer has to begin anew.",
    ),
    "NewConnection": (
        "STATE_MACHINE",
        "A valid message comes on another connection.",
        "Packets go into a connection that is dead.",
    ),
    "NoMove": (
        "STATE_MACHINE",
        "Something comes on another connection that proves nothing.",
        "Whoever has recorded one message can pull a session away.",
    ),
    "Puzzle": (
        "RESOURCE",
        "A COOKIE is asked for together with the solution of a PUZZLE.",
        "Whoever floods the responder has no more work than who does not.",
    ),
    "Ordinary": (
        "BASIC",
        "What every session does.",
        "No tunnel.",
    ),
    "Prefix": (
        "DESYNC",
        "How a stream begins.",
        "Other protocols are taken for this one, or a resumed session is refused.",
    ),
    "Reconnect": (
        "STATE_MACHINE",
        "The TCP Originator has lost its connection.",
        "Nobody reconnects, or everybody at once.",
    ),
    "Rekey": (
        "STATE_MACHINE",
        "An SA is replaced while connections change.",
        "Sessions are lost with their first SA.",
    ),
    "Repeat": (
        "STATE_MACHINE",
        "A request of ours waits for its answer.",
        "The exchange hangs, or is begun a second time.",
    ),
    "Resync": (
        "DESYNC",
        "The next message of a stream out of step is searched for.",
        "A forged or replayed message is found, or the search never ends.",
    ),
    "Retransmission": (
        "STATE_MACHINE",
        "A request comes again.",
        "It is carried out twice, or its sender never gets the answer.",
    ),
    "Sizes": (
        "DESYNC",
        "A Length that is written wrongly.",
        "A receiver that guesses what was meant takes what nobody sent.",
    ),
    "ShortLength": (
        "DESYNC",
        "A Length that cannot cover its own field.",
        "A reader that goes on loses its place in the stream; one that gives up the"
        " session lets an injected octet end it.",
    ),
    "Syntax": (
        "STATE_MACHINE",
        "An authentic message that cannot be read.",
        "The wrong thing ends: the connection, or nothing.",
    ),
    "Time": (
        "STATE_MACHINE",
        "What happens because time passes.",
        "A dead peer is kept, or a slow one given up.",
    ),
    "TwoSessions": (
        "STATE_MACHINE",
        "Messages of one session on the connection of another.",
        "Sessions disturb each other.",
    ),
    "UnknownSpi": (
        "DESYNC",
        "ESP packets whose SPI is not known, or not any more.",
        "A healthy connection closes at each rekey, or a broken one never.",
    ),
}
