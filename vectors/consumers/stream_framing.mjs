// Runs stream_framing_test.json against a decoder of its own: node stream_framing.mjs FILE
// A whole consumer of a vector file, to show how little it takes. Node 18 or later.
import { readFileSync } from "node:fs";

function decode(pieces, originator) {
  const out = { messages: [], ignored: [], unparseable: [], pendingOctets: 0, error: null };
  let held = Buffer.alloc(0), awaited = originator ? Buffer.from("IKETCP") : null;
  for (const piece of pieces) {
    if (out.error) break; // after an error nothing counts
    held = held.length ? Buffer.concat([held, piece]) : piece;
    if (awaited && held.length >= 6) { // RFC 9329, section 4: the prefix comes once, first
      if (!held.subarray(0, 6).equals(awaited)) { out.error = "StreamPrefix"; break; }
      held = held.subarray(6), awaited = null;
    }
    while (!awaited && held.length >= 2) { // section 3: Length counts itself
      const length = held.readUInt16BE(0);
      if (length < 2) { out.error = "LengthTooSmall"; break; }
      if (held.length < length) break;
      sort(held.subarray(2, length), out);
      held = held.subarray(length);
    }
  }
  out.pendingOctets = out.error ? 0 : held.length;
  return out;
}

function sort(message, out) {
  const octets = message.toString("hex");
  if (octets === "" || octets === "ff") out.ignored.push(octets);
  else if (message.length < 4) out.unparseable.push(octets);
  else if (message.readUInt32BE(0) !== 0) out.messages.push({ kind: "esp", octets });
  else if (message.length < 4 + 28) out.unparseable.push(octets);
  else out.messages.push({ kind: "ike", octets: octets.slice(8) });
}

const counts = { valid: 0, invalid: 0, acceptable: 0, different: 0, failed: 0 };
for (const { type, originator, tests } of JSON.parse(readFileSync(process.argv[2])).testGroups)
  for (const test of type === "StreamFraming" ? tests : []) { // other types are skipped
    const stream = Buffer.from(test.stream, "hex"), octets = [...stream].map((o) => Buffer.of(o));
    const splits = octets.slice(0, 99).map((_, at) => [stream.subarray(0, at), stream.subarray(at)]);
    const got = [[stream], octets, ...splits].map((pieces) => decode(pieces, originator));
    const agrees = got.every((one) => Object.keys(one).every(
      (name) => JSON.stringify(one[name]) === JSON.stringify(test[name])));
    counts[test.result] += 1;
    if (agrees) continue;
    if (test.result === "acceptable") counts.different += 1; // the RFC leaves it open
    else counts.failed += 1, console.log(`tcId ${test.tcId} (${test.comment}):`, ...got.slice(0, 2));
  }
console.log(Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(", "));
process.exit(counts.failed || !(counts.valid + counts.invalid) ? 1 : 0);
