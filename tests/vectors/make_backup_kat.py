#!/usr/bin/env python3
"""Known answers for docs/format-backup.md and the secrets of docs/format-node.md, made from these pages alone: shares no code with
the product.

  tests/vectors/make_backup_kat.py [--check]    writes (or compares) backup-kat.json beside this file
"""
import base64
import hashlib
import hmac
import json
import os
import struct
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEGMENT = 1 << 20
P256, X25519, ED25519 = 0x0010, 0x0020, 0x0100
RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def u8(x): return struct.pack(">B", x)
def u16(x): return struct.pack(">H", x)
def u32(x): return struct.pack(">I", x)
def u64(x): return struct.pack(">Q", x)
def lp16(b): return u16(len(b)) + b
def lp32(b): return u32(len(b)) + b
def sha(*parts): return hashlib.sha256(b"".join(parts)).digest()
def th(label, *fields): return sha(lp16(label), *[lp32(f) for f in fields])
def kid(alg, pub): return th(b"kluis/v1/key-fp", u16(alg), pub)[:16]


# RFC 9180, base mode, KDF HKDF-SHA256, AEAD AES-256-GCM, one message.
def extract(salt, ikm): return hmac.new(salt or bytes(32), ikm, "sha256").digest()


def expand(prk, info, n):
    out, t, i = b"", b"", 0
    while len(out) < n:
        i += 1
        t = hmac.new(prk, t + info + u8(i), "sha256").digest()
        out += t
    return out[:n]


def lextract(suite, salt, label, ikm): return extract(salt, b"HPKE-v1" + suite + label + ikm)
def lexpand(suite, prk, label, info, n): return expand(prk, u16(n) + b"HPKE-v1" + suite + label + info, n)


class Key:
    """A key pair of one of the two KEMs, from its private bytes."""

    def __init__(self, kem, private):
        self.kem, self.private = kem, private
        if kem == X25519:
            self.key = x25519.X25519PrivateKey.from_private_bytes(private)
            self.public = self.key.public_key().public_bytes(*RAW)
        else:
            self.key = ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1())
            self.public = self.key.public_key().public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)

    def dh(self, public):
        if self.kem == X25519:
            return self.key.exchange(x25519.X25519PublicKey.from_public_bytes(public))
        return self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public))


def hpke_seal(ephemeral, public, info, plaintext, aad=b""):
    suite = b"KEM" + u16(ephemeral.kem)
    prk = lextract(suite, b"", b"eae_prk", ephemeral.dh(public))
    shared = lexpand(suite, prk, b"shared_secret", ephemeral.public + public, 32)
    suite = b"HPKE" + u16(ephemeral.kem) + u16(1) + u16(2)
    context = u8(0) + lextract(suite, b"", b"psk_id_hash", b"") + lextract(suite, b"", b"info_hash", info)
    secret = lextract(suite, shared, b"secret", b"")
    key, nonce = lexpand(suite, secret, b"key", context, 32), lexpand(suite, secret, b"base_nonce", context, 12)
    return ephemeral.public, AESGCM(key).encrypt(nonce, plaintext, aad)


CLUSTER, LINEAGE = bytes(range(0x10, 0x20)), bytes(range(0x80, 0x90))


def object_file(kind, number, index, backup, ephemeral, data_key, plaintext):
    head = (b"KBO1" + u8(1) + u8(kind) + u16(backup.kem) + CLUSTER + LINEAGE + u64(index) + u32(number) + u32(0)
            + kid(backup.kem, backup.public))
    assert len(head) == 72
    enc, wrapped = hpke_seal(ephemeral, backup.public, b"kluis/v1/backup-key" + head, data_key)
    head += lp16(enc) + lp16(wrapped)
    parts = [plaintext[i:i + SEGMENT] for i in range(0, len(plaintext), SEGMENT)] or [b""]
    body = b""
    for n, part in enumerate(parts):
        aad = b"kluis/v1/backup-seg" + sha(head) + u64(n) + u8(n == len(parts) - 1)
        body += AESGCM(data_key).encrypt(u32(0) + u64(n), part, aad)
    return head + body


def entry(kind, index, ordinal, key, pack=0, offset=0, value=None):
    tail = bytes(44) if kind == 2 else u32(pack) + u32(offset) + u32(len(value)) + sha(value)
    return u8(kind) + u64(index) + u32(ordinal) + lp16(key) + tail


def manifest(node, kind, flags, slice_, index, term, since, cycle, base, root, state, times, counts, node_id, claim, backup, indexes, packs):
    body = (b"KBM1" + u8(1) + u8(kind) + u8(flags) + u8(slice_) + CLUSTER + LINEAGE + u64(index) + u64(term) + u64(since)
            + u32(cycle) + u32(0) + base + root + state + u64(times[0]) + u64(times[1]) + b"".join(u64(c) for c in counts)
            + u64(node_id) + u64(claim) + kid(backup.kem, backup.public) + u32(len(indexes)) + u32(len(packs)))
    assert len(body) == 248
    body += b"".join(sha(o) + u64(len(o)) for o in indexes + packs)
    return body, body + node.sign(th(b"kluis/v1/backup-manifest", body))


def key_line(kind, alg, raw):
    head = f"kluis-key 1 {kind} {(u16(alg) + raw).hex()}"
    return f"{head} {hashlib.sha256(head.encode()).hexdigest()[:8]}\n"


def offline_secrets(backup, ephemeral, secrets):
    head = b"KSO1" + u8(1) + bytes(3) + CLUSTER + kid(backup.kem, backup.public)
    enc, sealed = hpke_seal(ephemeral, backup.public, b"kluis/v1/offline-secrets", secrets, head)
    body = head + lp16(enc) + lp16(sealed)
    return base64.urlsafe_b64encode(body + sha(body)).decode().rstrip("=") + "\n"


def pattern(n):
    """n bytes that repeat with no power of two."""
    return bytes((i * 7 + i // 251) & 0xFF for i in range(n))


def make():
    x_key, p_key = Key(X25519, sha(b"backup x25519")), Key(P256, sha(b"backup p256"))
    x_eph, p_eph = Key(X25519, sha(b"ephemeral x25519")), Key(P256, sha(b"ephemeral p256"))
    seed = sha(b"node 3")
    node = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    node_public = node.public_key().public_bytes(*RAW)
    data_key = sha(b"data key")
    index = 0x0102030405

    values = [b"\x01alpha", b"", b"\x01" + pattern(300)]
    keys = [b"pa", b"pb\x00\xff", b"pc"]
    rows, entries, offset = [], u8(1) + bytes(3), 0
    for n, (key, value) in enumerate(zip(keys, values)):
        entries += entry(1, 7 + n, n, key, 0, offset, value)
        rows.append({"index": 7 + n, "ordinal": n, "key": key.hex(), "value": value.hex(), "value_hash": sha(value).hex(),
                     "offset": offset, "slice": int.from_bytes(sha(key)[:4], "big") % 42})
        offset += len(value)
    entries += entry(2, index, 0xFFFFFFFF, b"gone")
    root = sha(*[u64(r["index"]) + u32(r["ordinal"]) + lp32(bytes.fromhex(r["key"])) + bytes.fromhex(r["value_hash"])
                 for r in rows])

    idx = object_file(2, 0, index, x_key, x_eph, data_key, entries)
    pack = object_file(1, 0, index, p_key, p_eph, data_key, b"".join(values))
    pack_x = object_file(1, 0, index, x_key, x_eph, data_key, b"".join(values))
    objects = []
    for name, kem, data in [("index", "x25519", idx), ("pack", "p256", pack), ("pack", "x25519", pack_x)]:
        objects.append({"what": name, "kem": kem, "file": data.hex(), "hash": sha(data).hex(),
                        "plaintext": (entries if name == "index" else b"".join(values)).hex()})
    large = []
    for size in [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT, 3 * SEGMENT + 5]:
        data = object_file(1, 9, index, x_key, x_eph, data_key, pattern(size))
        head = len(data) - size - 16 * max(1, -(-size // SEGMENT))
        large.append({"plaintext_bytes": size, "bytes": len(data), "header": data[:head].hex(), "hash": sha(data).hex()})

    full, full_signed = manifest(node, 1, 0, 255, index, 4, 0, 1, bytes(32), root, sha(b"state"),
                                 (1790000000000, 1790000000123), (3, 0, offset), 3, index - 1, x_key, [idx], [pack_x])
    full_hash = th(b"kluis/v1/backup-manifest-hash", full)
    inc, inc_signed = manifest(node, 2, 0, 2, index + 1000, 4, index, 2, full_hash, root, sha(b"state 2"),
                               (1790000000000, 1790000000124), (3, 1, offset), 3, index + 999, x_key, [idx], [pack_x])
    receipt = (b"KBR1" + u8(1) + bytes(3) + CLUSTER + LINEAGE + full_hash + u64(index) + u32(1) + u32(0) + u64(3)
               + u64(1790000005000) + u64(len(idx) + len(pack_x)))
    assert len(receipt) == 112
    receipt += node.sign(th(b"kluis/v1/backup-receipt", receipt))

    journal, chain = b"", bytes(32)
    for kind, at, who in ((1, index + 5, b"v" * 16), (2, index + 9, b"p" * 16), (3, index + 11, b"d" * 16), (4, index + 12, b"m" * 16)):
        record = u8(1) + u8(kind) + bytes(6) + LINEAGE + u64(at) + u64(1790000010000) + who
        chain = th(b"kluis/v1/deletion", chain, record)
        journal += record + chain
    mark = (b"KDM1" + u8(1) + bytes(3) + CLUSTER + LINEAGE + u64(3) + u64(4) + u64(index + 20) + u64(1790000020000)
            + u64(1790000020001) + chain)
    assert len(journal) == 4 * 88 and len(mark) == 112
    mark += node.sign(th(b"kluis/v1/deletion-mark", mark))
    gone = (b"KDL1" + u8(2) + bytes(3) + b"n" * 16 + u32(1) + u32(2) + u32(1) + u32(1) + b"v" * 16 + b"o" * 16 + b"p" * 16 + b"d" * 16
            + b"m" * 16)
    manifests = [{"what": w, "file": s.hex(), "hash": th(b"kluis/v1/backup-manifest-hash", b).hex()}
                 for w, b, s in [("full", full, full_signed), ("increment", inc, inc_signed)]]

    def bad(what, signed, change):
        """Signed anew, so that only the rule itself is left to refuse it."""
        body = bytearray(signed[:-64])
        change(body)
        body = bytes(body)
        return {"what": what, "file": (body + node.sign(th(b"kluis/v1/backup-manifest", body))).hex()}

    def put(at, raw):
        def change(body): body[at:at + len(raw)] = raw
        return change

    refused = [
        bad("version 2", full_signed, put(4, b"\x02")),
        bad("journal without a number", full_signed, put(5, b"\x03")),
        bad("type 0", full_signed, put(5, b"\x00")),
        bad("unknown flag", full_signed, put(6, b"\x02")),
        bad("slice of a full", full_signed, put(7, b"\x00")),
        bad("slice 42", inc_signed, put(7, b"\x2a")),
        bad("slice of another cycle", inc_signed, put(7, b"\x03")),
        bad("manual with a slice", inc_signed, put(6, b"\x01")),
        bad("full with a base", full_signed, put(72, b"\x01")),
        bad("full with S'", full_signed, put(63, b"\x01")),
        bad("cycle 0", full_signed, put(67, b"\x00")),
        bad("manual full with a cycle", full_signed, put(6, b"\x01")),
        bad("increment without base", inc_signed, put(72, bytes(32))),
        bad("S' not below S", inc_signed, put(56, u64(index + 1000))),
        bad("S zero", full_signed, put(40, u64(0))),
        bad("reserved", full_signed, put(68, b"\x01")),
        bad("node 0", full_signed, put(208, u64(0))),
        bad("id 0", full_signed, put(216, u64(0))),
        bad("id behind S", full_signed, put(216, u64(index + 1))),
        bad("id not behind S'", inc_signed, put(216, u64(index))),
        bad("tombstones in a full", full_signed, put(192, u64(1))),
        bad("packs without rows", inc_signed, put(184, u64(0))),
        bad("no index", full_signed, put(240, u32(0) + u32(2))),
        bad("huge count", full_signed, put(240, u32(0xFFFFFFFF))),
        bad("count one too many", full_signed, put(244, u32(2))),
        bad("object twice", full_signed, put(288, sha(idx))),
        bad("object size 0", full_signed, put(280, u64(0))),
        bad("object too large", full_signed, put(280, u64((64 << 20) + 1))),
        bad("trailing byte", full_signed, lambda body: body.append(0)),
    ]
    secrets = b"KSE1" + u8(1) + u8(7) + u16(0) + CLUSTER + sha(b"pepper") + sha(b"enumeration key")
    secrets += sha(secrets)
    return {
        "format": 1,
        "cluster": CLUSTER.hex(), "lineage": LINEAGE.hex(),
        "keys": [
            {"kind": "backup", "kem": "x25519", "private": x_key.private.hex(), "public": x_key.public.hex(),
             "kid": kid(X25519, x_key.public).hex(), "public_line": key_line("backup-public", X25519, x_key.public),
             "private_line": key_line("backup-private", X25519, x_key.private)},
            {"kind": "backup", "kem": "p256", "private": p_key.private.hex(), "public": p_key.public.hex(),
             "kid": kid(P256, p_key.public).hex(), "public_line": key_line("backup-public", P256, p_key.public),
             "private_line": key_line("backup-private", P256, p_key.private)},
            {"kind": "node", "private": seed.hex(), "public": node_public.hex(), "kid": kid(ED25519, node_public).hex(),
             "public_line": key_line("node-public", ED25519, node_public),
             "private_line": key_line("node-private", ED25519, seed)},
        ],
        "data_key": data_key.hex(),
        "rows": rows, "tombstone": {"index": index, "ordinal": 0xFFFFFFFF, "key": b"gone".hex()},
        "state_root": root.hex(), "state_root_empty": sha().hex(),
        "objects": objects, "large_objects": large,
        "manifests": manifests, "manifests_refused": refused,
        "receipt": {"file": receipt.hex()},
        "secrets": {"file": secrets.hex(), "offline": [offline_secrets(x_key, x_eph, secrets), offline_secrets(p_key, p_eph, secrets)]},
        "deletions": {"journal": journal.hex(), "mark": mark.hex(), "list": gone.hex(),
                      "new_lineage": th(b"kluis/v1/restore-lineage", gone)[:16].hex()},
        "slices": [{"key": k.hex(), "slice": int.from_bytes(sha(k)[:4], "big") % 42} for k in (b"\x00", b"pages/1", b"x" * 1024)],
    }


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "backup-kat.json")
    text = json.dumps(make(), indent=1) + "\n"
    if sys.argv[1:] == ["--check"]:
        same = open(path, encoding="ascii").read() == text
        print("same" if same else "backup-kat.json differs from what this program makes")
        return 0 if same else 1
    with open(path, "w", encoding="ascii") as out:
        out.write(text)
    return 0


sys.exit(main())
