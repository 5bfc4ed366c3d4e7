"""An authority of the tests' own, and certificates as servers have them."""

import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


class Authority:
    """Signs certificates; its own is in `file`, for those who trust it."""

    def __init__(self, folder, name="Authority of the tests", above=None):
        """`above`: the one that vouches for this one, else itself."""
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self.name, above.name if above else self.name, self.key, *_days(-2, 30))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = dict.fromkeys(["digital_signature", "content_commitment", "key_encipherment", "data_encipherment"], False)
        usage |= dict.fromkeys(["key_agreement", "encipher_only", "decipher_only"], False)
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        self.file = self.folder / "authority.crt"
        # What comes behind a certificate so that others find the way to whom they trust.
        self.chain = _pem(builder.sign((above or self).key, hashes.SHA256()))
        self.file.write_bytes(self.chain)
        self.above = above
        self.made = 0

    def certificate(self, *names, **options):
        """A certificate for these domains and its key, as two files."""
        return self._certificate(names, self.name, self.key, **options)

    def self_signed(self, *names):
        """The same, with nobody who vouches for it."""
        return self._certificate(names, None, None)

    def _certificate(self, names, issuer, signer, usages=(SERVER, CLIENT), days=(-1, 20), rsa_bits=None, services=False):
        """`days`: from when until when it is good, from today on; `rsa_bits`: an RSA key of this size; `services`: it names no hosts,
        but the service of servers at these domains (RFC 6120 §13.7.1.2.1)."""
        key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")])
        builder = _builder(subject, issuer or subject, key, *_days(*days))
        other = [x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.7"), _ia5(f"_xmpp-server.{name}")) for name in names]
        known = other if services else [x509.DNSName(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(known), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        self.made += 1
        file, key_file = self.folder / f"{self.made}.crt", self.folder / f"{self.made}.key"
        chain = self.chain if self.above and signer else b""
        file.write_bytes(_pem(builder.sign(signer or key, hashes.SHA256())) + chain)
        private = serialization.PrivateFormat.PKCS8
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
        return file, key_file


def _ia5(text):
    return bytes([0x16, len(text)]) + text.encode()


def _builder(subject, issuer, key, begin, end):
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)


def _days(*days):
    now = datetime.datetime.now(datetime.timezone.utc)
    return [now + datetime.timedelta(days=day) for day in days]


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)
