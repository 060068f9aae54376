// Opens every message of exchange_transcripts_test.json: node exchange_transcripts.mjs FILE
import { readFileSync } from "node:fs";
import { finish, hex, open } from "./open.mjs";

const counts = { opened: 0, clear: 0, refused: 0, failed: 0 };
const unpadded = (plain, trailer) => plain.subarray(0, -trailer - plain.at(-trailer)).toString("hex");

// Returns the payloads of an IKE message, or the piece that a fragment has, in hexadecimal.
function ike({ ikeSas }, { sender, content, message }, { ikeSa }) {
  const octets = hex(message);
  if (ikeSa === null) return octets.subarray(28).toString("hex");
  const sa = ikeSas[ikeSa], way = sender === sa.originalInitiator ? "i" : "r";
  const at = content === "fragment" ? 36 : 32; // a fragment's numbers stand before its IV
  const keys = [sa[`skE${way}`], sa[`skA${way}`]].map(hex);
  const plain = open(sa.cipher, ...keys, octets.subarray(0, at), octets.subarray(at));
  return plain && unpadded(plain, 1);
}

// What of an inner packet travels in ESP: in transport mode not the header.
const carried = (packet, isTransport) => (isTransport ? packet.slice(packet[0] === "4" ? 40 : 80) : packet);

function esp({ west, childSas }, { sender, message }, { childSa, sequence, innerPacket }) {
  const { cipher, esn, name, exchangeInitiator, toResponder, toInitiator } = childSas[childSa];
  const octets = hex(message), way = sender === exchangeInitiator ? toResponder : toInitiator;
  if (octets.subarray(0, 4).toString("hex") !== way.spi || octets.readUInt32BE(4) !== sequence) return null;
  const number = Buffer.concat([Buffer.alloc(4), octets.subarray(4, 8)]); // none here reaches 2^32
  const isLong = esn && cipher.integ === null;
  const before = isLong ? Buffer.concat([octets.subarray(0, 4), number]) : octets.subarray(0, 8);
  const after = esn && cipher.integ !== null ? number.subarray(0, 4) : Buffer.alloc(0);
  const keys = [way.encryptionKey, way.integrityKey].map(hex);
  const plain = open(cipher, ...keys, before, octets.subarray(8), after, number);
  const { mode } = west.children.find((child) => child.name === name);
  return plain && unpadded(plain, 2) === carried(innerPacket, mode === "transport");
}

function agrees(test, step) {
  const { content } = step, given = step[content];
  if (content === "prefix") return true;
  const found = content === "esp" ? esp(test, step, given) : ike(test, step, given);
  counts[found === null ? "refused" : given.ikeSa === null ? "clear" : "opened"] += 1;
  return content === "esp" ? found === true : found === (given.payloads ?? given.piece);
}

for (const { tests } of JSON.parse(readFileSync(process.argv[2])).testGroups)
  for (const test of tests)
    for (const [number, step] of test.steps.entries()) {
      if (!["transmit", "datagram"].includes(step.step) || agrees(test, step)) continue;
      counts.failed += 1, console.log(`tcId ${test.tcId} (${test.comment}), step ${number + 1}`);
    }
finish(counts);
