"""A client of its own making: account, sessions, vaults, pages and heads, as docs/format-crypto.md and docs/openapi.yaml say.

Its pages hold noise and its vaults' roots are made up: no node can look into them. What a node checks is real."""
import base64
import hashlib
import hmac
import os
import struct
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SIG_RSA_PSS, SIG_ECDSA, KEM_P256 = 1, 2, 0x0010
EMPTY_ROOT = hashlib.sha256(b"").digest()


def lp16(data):
    return struct.pack(">H", len(data)) + data


def lp32(data):
    return struct.pack(">I", len(data)) + data


def tagged_hash(label, *parts):
    return hashlib.sha256(lp16(label.encode()) + b"".join(lp32(part) for part in parts)).digest()


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def binary(value):
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))


def point(key):
    return key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def point_kid(public):
    return tagged_hash("kluis/v1/key-fp", struct.pack(">H", KEM_P256), public)[:16]


def transfer_kid(key):
    return point_kid(point(key))


def now_ms():
    return int(time.time() * 1000)


def hpke_seal(public, info, aad, plaintext):
    """(enc, ciphertext) by RFC 9180, base mode: P-256, HKDF-SHA256, AES-256-GCM."""
    def extract(suite, salt, label, ikm):
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")

    def expand(suite, prk, label, info, length):
        return hmac.digest(prk, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info + b"\x01", "sha256")[:length]
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    enc = point(ephemeral)
    kem, suite = b"KEM" + struct.pack(">H", KEM_P256), b"HPKE" + struct.pack(">HHH", KEM_P256, 1, 2)
    shared = ephemeral.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public))
    shared = expand(kem, extract(kem, b"", b"eae_prk", shared), b"shared_secret", enc + public, 32)
    context = b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    secret = extract(suite, shared, b"secret", b"")
    key, nonce = expand(suite, secret, b"key", context, 32), expand(suite, secret, b"base_nonce", context, 12)
    return enc, AESGCM(key).encrypt(nonce, plaintext, aad)


class Writer:
    def __init__(self, name, cluster_id):
        self.name, self.cluster_id = name, bytes.fromhex(cluster_id)
        self.user_id, self.device_id = os.urandom(16), os.urandom(16)
        self.user = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.device, self.transfer, self.hpke = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self.kid = tagged_hash("kluis/v1/key-fp", struct.pack(">H", SIG_ECDSA), point(self.device))[:16]

    def device_sign(self, digest):
        r, s = utils.decode_dss_signature(self.device.sign(digest, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def user_sign(self, digest):
        return self.user.sign(digest, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())

    def key_packet(self, purpose, object_id, epoch, rcpt_id, rcpt_key, secret=None):
        """It gives `secret` or, where nobody opens it, noise. rcpt_key: a private key, or the point of somebody else's."""
        rcpt = rcpt_key if isinstance(rcpt_key, bytes) else point(rcpt_key)
        public = self.user.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        kid = tagged_hash("kluis/v1/key-fp", struct.pack(">H", SIG_RSA_PSS), public)[:16]
        header = (b"KKP1" + struct.pack(">BBHHHBBH", 1, 1, KEM_P256, 1, 2, purpose, SIG_RSA_PSS, 0) + os.urandom(16) + self.user_id + kid
                  + rcpt_id + point_kid(rcpt) + object_id + struct.pack(">IIQQ", epoch, 0, now_ms(), now_ms() + 86400000))
        assert len(header) == 136
        enc, sealed = b"\x04" + os.urandom(64), os.urandom(48)
        if secret is not None:
            enc, sealed = hpke_seal(rcpt, b"kluis/v1/kp" + header, bytes(32), secret)
        signature = self.user_sign(tagged_hash("kluis/v1/kp-sig", header, bytes(32), enc, sealed))
        return text(header + bytes(32) + lp16(enc) + lp16(sealed) + lp16(signature))

    def chat_message(self, conv_id, epoch, index):
        """A message of this device, of noise."""
        header = (b"KCM1\x01\x02\0\0" + conv_id + struct.pack(">II", epoch, index) + self.user_id + self.device_id + bytes(64)
                  + struct.pack(">I", 64))
        assert len(header) == 132
        sealed, tag = os.urandom(64), os.urandom(32)
        return header + sealed + tag + self.device_sign(tagged_hash("kluis/v1/chat-sig", header, sealed, tag))

    @staticmethod
    def inbox_document(owner_id, sender_class=2):
        """(a document for that user, sealed to nobody, its id): no node can look into one."""
        doc_id = os.urandom(16)
        header = (b"KIB1\x01" + struct.pack(">BHHH", sender_class, KEM_P256, 1, 2) + owner_id + owner_id + os.urandom(16) + doc_id
                  + struct.pack(">QH", now_ms(), 1))
        assert len(header) == 86
        return header + lp16(b"\x04" + os.urandom(64)) + lp32(os.urandom(100)), doc_id

    # --- the account ---

    def statement(self, kind, seq, before, body):
        """(the user's signed statement, its hash)"""
        public = self.user.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        unsigned = (b"KID1\x01" + bytes([kind]) + self.user_id + struct.pack(">Q", seq) + before + struct.pack(">Q", now_ms()) + lp16(body)
                    + bytes([SIG_RSA_PSS]) + tagged_hash("kluis/v1/key-fp", struct.pack(">H", SIG_RSA_PSS), public)[:16])
        signature = self.user_sign(tagged_hash("kluis/v1/ident", unsigned))
        return unsigned + lp16(signature), tagged_hash("kluis/v1/stmt-hash", unsigned)

    def enrolment(self, token):
        """Body of /v1/services/enrol."""
        public = self.user.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        genesis, genesis_hash = self.statement(
            1, 1, bytes(32), lp16(self.name.encode()) + lp16(public) + struct.pack(">H", KEM_P256) + lp16(point(self.transfer)))
        device, device_hash = self.statement(
            4, 2, genesis_hash, self.device_id + lp16(point(self.device)) + lp16(point(self.hpke)) + lp16(b"test"))
        proof = tagged_hash("kluis/v1/service-enrol", self.cluster_id, token.encode(), self.name.encode(), genesis_hash, device_hash)
        return {"token": token, "account": self.name, "identity": text(genesis), "device": text(device), "proof": text(self.device_sign(proof))}

    def login_start(self):
        return {"user_id": self.user_id.hex(), "device_id": self.device_id.hex()}

    def login_finish(self, answer):
        digest = tagged_hash("kluis/v1/service-login", self.cluster_id, binary(answer["challenge"]), self.user_id, self.device_id)
        return {"handshake": answer["handshake"], "signature": text(self.device_sign(digest))}


VAULT, GROUP, CONVERSATION = 1, 2, 3
CREATE, ADD, REMOVE, ROLE, ROTATE = 1, 2, 3, 4, 5


class Shared:
    """A vault, group or conversation that a writer founded, and where its membership chain stands."""

    def __init__(self, writer, kind):
        self.writer, self.kind, self.id, self.members_rev, self.members_hash, self.epoch = writer, kind, os.urandom(16), 0, bytes(32), 1
        self.new_key()
        self.create = self.statement(CREATE, bytes([kind]) + writer.user_id + self.kid)

    def new_key(self):
        """Of a group: its transfer key."""
        self.key = ec.generate_private_key(ec.SECP256R1()) if self.kind == GROUP else None
        self.kid = bytes(16) if self.key is None else transfer_kid(self.key)

    def statement(self, kind, body):
        """The next one of the chain, which it counts as."""
        unsigned = (b"KGR1\x01" + bytes([kind]) + self.id + struct.pack(">Q", self.members_rev + 1) + self.members_hash
                    + struct.pack(">Q", now_ms()) + lp16(body) + bytes([SIG_ECDSA]) + self.writer.kid)
        self.members_rev, self.members_hash = self.members_rev + 1, tagged_hash("kluis/v1/stmt-hash", unsigned)
        return unsigned + lp16(self.writer.device_sign(tagged_hash("kluis/v1/member", unsigned)))

    def add(self, member_id, role, kind=1):
        return text(self.statement(ADD, member_id + struct.pack(">BH", kind, role)))

    def remove(self, member_id):
        return text(self.statement(REMOVE, member_id))

    def rotate(self):
        self.epoch += 1
        self.new_key()
        return text(self.statement(ROTATE, struct.pack(">I", self.epoch) + self.kid))

    def packet(self, purpose, rcpt_id, rcpt_key):
        """A KeyPacket that gives noise as this object's key: no node can look into it."""
        return self.writer.key_packet(purpose, self.id, self.epoch, rcpt_id, rcpt_key)


class Vault(Shared):
    """One vault of a writer, and its newest head."""

    def __init__(self, writer):
        super().__init__(writer, VAULT)
        self.seq, self.head_hash, self.pages = 0, bytes(32), {}

    def head(self, pages=()):
        """The next head, signed, with these pages in it; it counts as committed."""
        for number in pages:
            self.pages[number] = self.pages.get(number, 0) + 1
        count = max(self.pages, default=-1) + 1
        self.seq += 1
        fixed = (b"KVH1\x01\x02\0\0" + self.id + struct.pack(">QIIQ", self.seq, self.epoch, self.members_rev, count)
                 + (os.urandom(32) if count else EMPTY_ROOT) + self.head_hash + self.members_hash + self.writer.user_id
                 + self.writer.device_id + struct.pack(">Q", now_ms()) + bytes(24))
        assert len(fixed) == 208
        self.head_hash = tagged_hash("kluis/v1/head-hash", fixed)
        return fixed + self.writer.kid + lp16(self.writer.device_sign(tagged_hash("kluis/v1/head", fixed)))

    def page(self, number, revision):
        """A page of the smallest size, of noise."""
        header = (b"KPG1\x01\x02\x00\x0c" + self.id + struct.pack(">QQII", number, revision, 1, 1 << 12) + self.writer.device_id
                  + os.urandom(32) + b"\x01" + bytes(15))
        assert len(header) == 112
        content = os.urandom(1 << 12)
        return header + content + hmac.digest(os.urandom(32), header + content, "sha256")

    @staticmethod
    def commit(head, *entries):
        """Body of POST commits; an entry is (page number, revision, page) or, for a staged one, its SHA-256 as the last."""
        return lp32(head) + b"".join(struct.pack(">QQB", number, revision, len(data) == 32) + lp32(data) for number, revision, data in entries)
