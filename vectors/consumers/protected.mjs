// Opens esp_packet_test.json and ike_encrypted_test.json: node protected.mjs FILE...
import { readFileSync } from "node:fs";
import { finish, hex, none, open } from "./open.mjs";

const counts = { opened: 0, refused: 0, failed: 0 };

// The whole sequence number, of which a packet shows 32 bits: RFC 4303, appendix A.
function inferred(shown, highest, esn) {
  const left = highest - 63n; // the window is 64 packets wide
  return esn ? left + ((shown - left) & 0xffffffffn) : shown;
}

// Returns the plaintext of an ESP packet that is new and authentic, or null.
function espPacket({ cipher, esn, spi, encryptionKey, integrityKey }, { packet, highest }) {
  const octets = hex(packet), multiple = Math.max(4, cipher.blockSize);
  const size = octets.length - 8 - cipher.ivSize - cipher.icvSize; // what is encrypted
  if (size < multiple || size % multiple) return null;
  const number = inferred(BigInt(octets.readUInt32BE(4)), BigInt(`0x${highest}`), esn);
  if (number <= BigInt(`0x${highest}`) || number >> 64n) return null; // all up to it were seen
  const whole = hex(number.toString(16).padStart(16, "0")), isLong = esn && cipher.integ === null;
  const before = Buffer.concat([hex(spi), isLong ? whole : octets.subarray(4, 8)]);
  const after = esn && cipher.integ !== null ? whole.subarray(0, 4) : none;
  const keys = [encryptionKey, integrityKey].map(hex);
  return open(cipher, ...keys, before, octets.subarray(8), after, whole);
}

// Returns the plaintext of an IKE message, or null; the flags tell whose keys it is under.
function encrypted(group, { message }) {
  const octets = hex(message), side = octets[19] & 0x08 ? "i" : "r";
  const [key, integrityKey] = [group[`skE${side}`], group[`skA${side}`]].map(hex);
  return open(group.cipher, key, integrityKey, octets.subarray(0, 32), octets.subarray(32));
}

const KINDS = {
  EspPacket: {
    read: espPacket,
    mustOpen: (test) => test.isAuthentic,
    content: ({ inner, tfcPadding, padding }) => inner + "00".repeat(tfcPadding) + padding,
    trailer: 2, // Pad Length and Next Header
  },
  Encrypted: {
    read: encrypted,
    mustOpen: (test) => test.reaction !== "drop",
    content: ({ inner, padding }) => inner + padding,
    trailer: 1, // Pad Length
  },
};
for (const file of process.argv.slice(2))
  for (const group of JSON.parse(readFileSync(file)).testGroups)
    for (const test of KINDS[group.type] ? group.tests : []) { // other types are skipped
      const { read, mustOpen, content, trailer } = KINDS[group.type];
      const plain = read(group, test);
      counts[plain ? "opened" : "refused"] += 1;
      const agrees = !plain || plain.toString("hex").slice(0, -2 * trailer) === content(test);
      if (agrees && Boolean(plain) === mustOpen(test)) continue;
      counts.failed += 1, console.log(`tcId ${test.tcId} (${test.comment}):`, plain);
    }
finish(counts);
