"""An authority of the tests' own, and certificates as servers have them."""

import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


class Authority:
    """Signs certificates; its own is in `file`, for those who trust it."""

    def __init__(self, folder, name="Authority of the tests"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self.name, self.name, self.key, *_days(-2, 30))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = dict.fromkeys(["digital_signature", "content_commitment", "key_encipherment", "data_encipherment"], False)
        usage |= dict.fromkeys(["key_agreement", "encipher_only", "decipher_only"], False)
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        self.file = self.folder / "authority.crt"
        self.file.write_bytes(_pem(builder.sign(self.key, hashes.SHA256())))
        self.made = 0

    def certificate(self, *names, usages=(SERVER, CLIENT), days=(-1, 20)):
        """A certificate for these domains and its key, as two files. `days`: from when until when it is good, from today on."""
        return self._certificate(names, usages, days, self.name, self.key)

    def self_signed(self, *names):
        """The same, with nobody who vouches for it."""
        return self._certificate(names, (SERVER, CLIENT), (-1, 20), None, None)

    def _certificate(self, names, usages, days, issuer, signer):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        builder = _builder(subject, issuer or subject, key, *_days(*days))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        self.made += 1
        file, key_file = self.folder / f"{self.made}.crt", self.folder / f"{self.made}.key"
        file.write_bytes(_pem(builder.sign(signer or key, hashes.SHA256())))
        private = serialization.PrivateFormat.PKCS8
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
        return file, key_file


def _builder(subject, issuer, key, begin, end):
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)


def _days(*days):
    now = datetime.datetime.now(datetime.timezone.utc)
    return [now + datetime.timedelta(days=day) for day in days]


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)
