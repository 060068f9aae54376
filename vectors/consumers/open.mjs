// Verifies and decrypts what a peer protected, for IKE and for ESP. Node 18 or later.
import { createDecipheriv, createHmac } from "node:crypto";

export const hex = (text) => Buffer.from(text, "hex");
export const none = Buffer.alloc(0);

const MODES = { 12: "cbc", 13: "ctr", 20: "gcm", 30: "gcm" }; // by encr; else ChaCha20-Poly1305
const HASHES = { 12: "sha256", 13: "sha384", 14: "sha512" }; // by integ

// cipher is a file's own description. body is IV, ciphertext and ICV; before and after are
// what only the ICV covers; number is the IV where the body has none. Returns the plaintext,
// or null if the body proves nothing.
export function open(cipher, key, integrityKey, before, body, after = none, number = none) {
  const { encr, integ, keyBits, ivSize, icvSize } = cipher, end = body.length - icvSize;
  if (end <= ivSize) return null;
  const iv = ivSize ? body.subarray(0, ivSize) : number, text = body.subarray(ivSize, end), icv = body.subarray(end);
  const mode = MODES[encr], salt = mode === "cbc" ? none : key.subarray(-4); // behind the key
  const name = mode ? `aes-${keyBits}-${mode}` : "chacha20-poly1305";
  const nonce = Buffer.concat([salt, iv, mode === "ctr" ? hex("00000001") : none]);
  const secret = key.subarray(0, key.length - salt.length);
  const context = createDecipheriv(name, secret, nonce, integ ? {} : { authTagLength: icvSize });
  if (integ) {
    const mac = createHmac(HASHES[integ], integrityKey);
    for (const part of [before, iv, text, after]) mac.update(part);
    if (!mac.digest().subarray(0, icvSize).equals(icv)) return null;
  } else context.setAAD(before).setAuthTag(icv);
  try {
    return Buffer.concat([context.setAutoPadding(false).update(text), context.final()]);
  } catch {
    return null;
  }
}

// Prints what was counted; the exit code is 1 if anything failed, or nothing was opened at all.
export function finish(counts) {
  console.log(Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(", "));
  process.exit(counts.failed || !counts.opened ? 1 : 0);
}
