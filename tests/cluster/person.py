"""A person of its own making, as docs/format-crypto.md and docs/openapi.yaml say: registration, SRP-6a, keyrings, recovery.

What only the person could open is noise, and no password is stretched. What a node checks is real."""
import base64
import hashlib
import hmac
import os
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from writer import KEM_P256, Writer, binary, lp16, now_ms, point, tagged_hash, text

GROUP, G, ROUNDS = 3, 5, 600000
# RFC 5054 appendix A, 3072 bits: 2^3072 - 2^3008 - 1 + 2^64 * (floor(2^2942 pi) + 1690314).
N = int(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"
    "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed"
    "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f"
    "83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b"
    "e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510"
    "15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7"
    "abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c"
    "bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a93ad2caffffffffffffffff", 16)
N_BYTES = 384
GENESIS, DEVICE_ADD, DEVICE_REVOKE, POLICY = 1, 4, 5, 7


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def pad(number):
    return number.to_bytes(N_BYTES, "big")


def whole(data):
    return int.from_bytes(data, "big")


def hkdf(salt, key, info, size):
    prk, block, out = hmac.digest(salt, key, "sha256"), b"", b""
    for i in range(1, 256):
        block = hmac.digest(prk, block + info + bytes([i]), "sha256")
        out += block
        if len(out) >= size:
            return out[:size]


def hotp(secret, counter):
    """RFC 4226, six digits; secret in base32."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack(">Q", counter), "sha1")
    return f"{(struct.unpack_from('>I', digest, digest[-1] & 15)[0] & 0x7fffffff) % 10**6:06}"


class Person(Writer):
    def __init__(self, name, cluster_id):
        super().__init__(name, cluster_id)
        self.revision, self.keyring_hash = 0, bytes(32)
        self.seq, self.chain_hash, self.slot_id = 0, bytes(32), None
        self.new_password()

    def new_password(self):
        self.password, self.salt = os.urandom(32).hex().encode(), os.urandom(16)
        self.kdf = struct.pack(">BBHIII", 1, 1, 0, ROUNDS, 2 * ROUNDS, 0) + os.urandom(16)
        self.recovery = ec.generate_private_key(ec.SECP256R1())
        self.slot_id, self.share, self.slots = os.urandom(16), os.urandom(32), None

    # --- the chain ---

    def next(self, kind, body, append=True):
        statement, digest = self.statement(kind, self.seq + 1, self.chain_hash, body)
        if append:
            self.seq, self.chain_hash = self.seq + 1, digest
        return {"statement": text(statement)}

    def device_add(self, device_id, append=True, name=b"second"):
        return self.next(DEVICE_ADD, device_id + lp16(point(self.device)) + lp16(point(self.hpke)) + lp16(name), append)

    def device_revoke(self, device_id):
        return self.next(DEVICE_REVOKE, device_id + struct.pack(">H", 0))

    def policy(self, flags):
        return self.next(POLICY, struct.pack(">I", flags))

    # --- keyring ---

    def slot(self, kind, slot_id, kdf):
        return slot_id + bytes([kind, 2, 0, 0]) + kdf + bytes(20) + os.urandom(128) + bytes(40)

    def next_keyring(self):
        if self.slots is None:
            self.slots = self.slot(1, self.slot_id, self.kdf) + self.slot(2, os.urandom(16), bytes(32))
        core = os.urandom(200)
        header = (b"KKR1\x01\x02" + struct.pack(">H", 2) + self.user_id
                  + struct.pack(">QIIII", self.revision + 1, len(core), 0, ROUNDS, 2 * ROUNDS) + self.keyring_hash
                  + struct.pack(">QII", now_ms(), 0, 0))
        assert len(header) == 96 and len(self.slots) == 480
        keyring = header + self.slots + core + os.urandom(32)
        self.revision, self.keyring_hash = self.revision + 1, hashlib.sha256(keyring).digest()
        return keyring

    def credentials(self):
        x = whole(sha(self.salt, sha(self.name.encode(), b":", self.password)))
        return {"srp": {"group": GROUP, "salt": text(self.salt), "verifier": text(pad(pow(G, x, N)))}, "kdf": text(self.kdf),
                "recovery": {"public": text(point(self.recovery))}, "keyring": text(self.next_keyring())}

    def registration(self, invite):
        """Body of /v1/register."""
        public = self.user.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        genesis = self.next(GENESIS, lp16(self.name.encode()) + lp16(public) + struct.pack(">H", KEM_P256) + lp16(point(self.transfer)))
        device = self.next(DEVICE_ADD, self.device_id + lp16(point(self.device)) + lp16(point(self.hpke)) + lp16(b"test"))
        return {"user": self.name, "user_id": self.user_id.hex(), "unlock_share": text(self.share), "identity": genesis["statement"],
                "device": device["statement"], "invite": invite, **self.credentials()}

    def change(self):
        """Body of /v1/password, for another one."""
        self.new_password()
        return {**self.credentials(), "unlock_shares": [{"slot_id": self.slot_id.hex(), "unlock_share": text(self.share)}]}

    # --- signing in ---

    def password_start(self):
        self.a = whole(os.urandom(32))
        self.a_public = pow(G, self.a, N)
        return {"user": self.name, "A": text(pad(self.a_public)), "group": GROUP}

    def password_finish(self, answer, device=True):
        salt, b_public = binary(answer["salt"]), whole(binary(answer["B"]))
        k, u = whole(sha(pad(N), pad(G))), whole(sha(pad(self.a_public), pad(b_public)))
        x = whole(sha(salt, sha(self.name.encode(), b":", self.password)))
        key = sha(pad(pow(b_public - k * pow(G, x, N), self.a + u * x, N)))
        mixed = bytes(p ^ q for p, q in zip(sha(pad(N)), sha(bytes([G]))))
        m1 = sha(mixed, sha(self.name.encode()), salt, pad(self.a_public), pad(b_public), key)
        self.m2 = sha(pad(self.a_public), m1, key)
        bound = tagged_hash("kluis/v1/session", self.cluster_id, self.name.encode(), binary(answer["kdf"]), bytes([GROUP]), salt,
                            pad(self.a_public), pad(b_public))
        self.session = hkdf(bound, key, b"kluis/v1/session", 64)
        body = {"handshake": answer["handshake"], "M1": text(m1)}
        if device:
            proof = tagged_hash("kluis/v1/device-login", self.cluster_id, m1, self.user_id, self.device_id)
            body.update(device_id=self.device_id.hex(), device_sig=text(self.device_sign(proof)))
        return body

    def proves(self, answer):
        """Whether the node holds the verifier and the token is of this handshake."""
        mac = hmac.digest(self.session[:32], b"kluis/v1/token" + answer["token"].encode(), "sha256")
        return binary(answer["M2"]) == self.m2 and binary(answer["token_mac"]) == mac

    def recovery_finish(self, answer):
        digest = tagged_hash("kluis/v1/recover", self.cluster_id, bytes.fromhex(answer["user_id"]), binary(answer["challenge"]))
        device, self.device = self.device, self.recovery
        signature = self.device_sign(digest)
        self.device = device
        return {"recovery": answer["recovery"], "signature": text(signature)}
