// Opens every message of connection_mapping_test.json: node connection_mapping.mjs FILE
// The keys of the sessions are given; those that a rekey makes are not, and are left out here.
import { readFileSync } from "node:fs";
import { finish, hex, none, open } from "./open.mjs";

const counts = { opened: 0, refused: 0, keyless: 0, failed: 0 };

// Writes a chain of payloads as the file does: RFC 7296, section 3.2.
function chain(type, octets) {
  const payloads = [];
  while (type) {
    const size = octets.readUInt16BE(2);
    payloads.push({ type, body: octets.subarray(4, size).toString("hex") });
    [type, octets] = [octets[0], octets.subarray(size)];
  }
  return JSON.stringify(payloads);
}

function keysOf(sessions) {
  const keys = {};
  for (const { ikeSa, childSa } of sessions) {
    keys[ikeSa.spiI + ikeSa.spiR + true] = ikeSa.skEi; // what the original initiator sends
    keys[ikeSa.spiI + ikeSa.spiR + false] = ikeSa.skEr;
    keys[childSa.spiIn] = childSa.encryptionKeyIn;
    keys[childSa.spiOut] = childSa.encryptionKeyOut;
  }
  return keys;
}

// Tells whether a message, Length included, is what its content says.
function agrees(cipher, keys, octets, content) {
  const isIke = content.kind !== "esp", from = isIke ? 6 : 2;
  const at = from + { ike: 32, fragment: 36, esp: 8 }[content.kind];
  const { spiI, spiR, spi, isFromOriginalInitiator: side, payloads, piece } = content;
  const key = keys[isIke ? spiI + spiR + side : spi];
  if (!key) return (counts.keyless += 1, true);
  const plain = open(cipher, hex(key), none, octets.subarray(from, at), octets.subarray(at));
  counts[plain ? "opened" : "refused"] += 1;
  if (Boolean(plain) !== content.isAuthentic) return false;
  if (!plain) return true;
  if (!isIke) return plain.subarray(0, -2 - plain.at(-2)).toString("hex") === content.inner;
  if (piece !== undefined) return plain.subarray(0, -1 - plain.at(-1)).toString("hex") === piece;
  if (payloads.length === 0 && plain.length > 1) return true; // malformed inside
  return chain(octets[from + 28], plain.subarray(0, -1 - plain.at(-1))) === JSON.stringify(payloads);
}

for (const { cipher, tests } of JSON.parse(readFileSync(process.argv[2])).testGroups)
  for (const { tcId, sessions, steps } of tests) {
    const keys = keysOf(sessions);
    for (const { octets = "", content = [], expect } of steps) {
      const sent = expect.sent.map((one) => [one.octets, [one.content]]);
      for (let [stream, contents] of [[octets, content], ...sent])
        for (const one of contents) {
          const piece = hex(stream.slice(0, 2 * one.size));
          stream = stream.slice(2 * one.size);
          if (typeof one.isAuthentic !== "boolean") continue; // noise, or in the clear
          if (agrees(cipher, keys, piece, one)) continue;
          counts.failed += 1, console.log(`tcId ${tcId}:`, one);
        }
    }
  }
finish(counts);
