"""The ports as an attacker sees them: sslyze tries what TLS they speak, bare sockets what works without TLS."""

import logging
import socket
import ssl
import warnings

from sslyze import ProtocolWithOpportunisticTlsEnum as Opportunistic
from sslyze import ScanCommandAttemptStatusEnum as Status
from sslyze import Scanner, ServerNetworkConfiguration, ServerNetworkLocation, ServerScanRequest
from sslyze import RobotScanResultEnum as Robot
from sslyze import ScanCommand, ScanCommandsExtraArguments
from sslyze.plugins.certificate_info.implementation import CertificateInfoExtraArgument

from house import DOMAIN, PATIENCE, House, Report, equal

STREAM = (
    f"<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
)
PLAIN = "AHJvbWVvAGEgbG9uZyBzZWNyZXQ="  # romeo, a long secret
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
# What a client might try in plain text, with a right password where one is needed.
ATTEMPTS = {
    "PLAIN": f"<auth xmlns='{SASL}' mechanism='PLAIN'>{PLAIN}</auth>",
    "SCRAM": f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-1'>biwsbj1yb21lbyxyPWE=</auth>",
    "EXTERNAL": f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>",
    "ANONYMOUS": f"<auth xmlns='{SASL}' mechanism='ANONYMOUS'/>",
    "SASL2": "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>"
    f"<initial-response>{PLAIN}</initial-response></authenticate>",
    "XEP-0078": "<iq type='set' id='1'><query xmlns='jabber:iq:auth'><username>romeo</username>"
    "<password>a long secret</password><resource>a</resource></query></iq>",
    "registration": "<iq type='set' id='1'><query xmlns='jabber:iq:register'><username>paris</username>"
    "<password>a long secret</password></query></iq>",
    "bind": "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    "ping": f"<iq type='get' id='1' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>",
    "message": f"<message to='romeo@{DOMAIN}'><body>Psst</body></message>",
    "presence": "<presence/>",
}


def scan(house, setting):
    """All that sslyze knows to try, but for the web's things."""
    opportunistic = Opportunistic.XMPP if setting == "c2s" else None
    request = ServerScanRequest(
        ServerNetworkLocation(hostname=DOMAIN, port=house.ports[setting], ip_address="127.0.0.1"),
        ServerNetworkConfiguration(DOMAIN, opportunistic, network_timeout=PATIENCE),
        scan_commands=set(ScanCommand) - {ScanCommand.HTTP_HEADERS},
        scan_commands_extra_arguments=ScanCommandsExtraArguments(
            certificate_info=CertificateInfoExtraArgument(custom_ca_file=house.ca)
        ),
    )
    scanner = Scanner()
    scanner.queue_scans([request])
    (done,) = scanner.get_results()
    if done.scan_result is None:
        raise Exception(f"sslyze cannot connect: {done.connectivity_error_trace}")
    for command in request.scan_commands:
        attempt = getattr(done.scan_result, command.value)
        if attempt.status != Status.COMPLETED:
            raise Exception(f"sslyze could not do {command.value}: {attempt.error_trace}")
    return lambda command: getattr(done.scan_result, command).result


def old_versions(result):
    for version in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        tried = result(f"{version}_cipher_suites")
        assert tried.rejected_cipher_suites, f"{version} was not tried"
        equal(tried.accepted_cipher_suites, [], version)


def suites(result):
    """Forward secrecy and authenticated encryption, and nothing else; sslyze itself lists what it knows."""
    for version in ("tls_1_2", "tls_1_3"):
        tried = result(f"{version}_cipher_suites")
        names = [accepted.cipher_suite.name for accepted in tried.accepted_cipher_suites]
        assert names and len(tried.rejected_cipher_suites) > 1, f"{version}: {names}"
        for name in names:
            exchange = version == "tls_1_3" or name.startswith("TLS_ECDHE_")
            sealed = "_GCM_" in name or "_CHACHA20_POLY1305_" in name
            assert exchange and sealed, name


def holes(result):
    assert not result("tls_compression").supports_compression
    assert not result("tls_1_3_early_data").supports_early_data
    assert not result("openssl_ccs_injection").is_vulnerable_to_ccs_injection
    assert not result("heartbleed").is_vulnerable_to_heartbleed
    assert not result("session_renegotiation").is_vulnerable_to_client_renegotiation_dos
    assert result("tls_extended_master_secret").supports_ems_extension
    equal(result("robot").robot_result, Robot.NOT_VULNERABLE_RSA_NOT_SUPPORTED)


def certificate(result):
    """Valid for whoever trusts the house's authority, and for nobody else."""
    (deployment,) = result("certificate_info").certificate_deployments
    assert deployment.received_chain_has_valid_order
    for validation in deployment.path_validation_results:
        trusted = validation.trust_store.name == "Supplied CA file"
        equal(validation.was_validation_successful, trusted, validation.trust_store.name)


def modern_suites(house):
    """What sslyze's old OpenSSL cannot try: it has no extended master secret, which TLS 1.2 needs here."""
    for suite in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"):
        context = ssl.create_default_context(cafile=house.ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(suite)
        with connect(house, "c2s_tls") as plain, context.wrap_socket(plain, server_hostname=DOMAIN) as tls:
            equal(tls.cipher()[:2], (suite, "TLSv1.2"))


def connect(house, setting):
    return socket.create_connection(("127.0.0.1", house.ports[setting]), PATIENCE)


def rest(plain):
    """All that comes until the server hangs up."""
    parts = []
    try:
        while part := plain.recv(4096):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts).decode()


def until(plain, end):
    text = ""
    while end not in text:
        part = plain.recv(4096).decode()
        if not part:
            raise Exception(f"the end before {end}: {text}")
        text += part
    return text


def features_without_tls(house):
    with connect(house, "c2s") as plain:
        plain.sendall(STREAM.encode())
        features = until(plain, "</stream:features>").partition("<stream:features>")[2]
        equal(
            features,
            "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>",
        )


def refused_without_tls(house, attempt):
    with connect(house, "c2s") as plain:
        plain.sendall(STREAM.encode())
        until(plain, "</stream:features>")
        plain.sendall(attempt.encode())
        answer = rest(plain)
        assert answer.endswith("</stream:stream>"), answer
        assert "<stream:error>" in answer or "<failure" in answer, answer
        for word in ("<success", "<challenge", "<iq", "<message", "<presence", "<mechanism"):
            assert word not in answer, answer


def no_xmpp_on_direct_tls(house):
    with connect(house, "c2s_tls") as plain:
        plain.sendall((STREAM + ATTEMPTS["PLAIN"]).encode())
        answer = plain.recv(4096)
        # A TLS alert at most.
        assert not answer or answer[0] == 21, answer


def main():
    report = Report()
    with House() as house:
        house.command("user", "add", f"romeo@{DOMAIN}", "--password-stdin", input="a long secret\n")
        for setting, name in (("c2s", "STARTTLS"), ("c2s_tls", "direct TLS")):
            with report.check(f"sslyze scans ({name})"):
                result = scan(house, setting)
            for check in (old_versions, suites, holes, certificate):
                with report.check(f"{check.__name__} ({name})"):
                    check(result)
        for check in (modern_suites, features_without_tls, no_xmpp_on_direct_tls):
            with report.check(check.__name__):
                check(house)
        for name, attempt in ATTEMPTS.items():
            with report.check(f"refused_without_tls ({name})"):
                refused_without_tls(house, attempt)
    report.end()


# Its own list of authorities has one that its own library finds odd.
warnings.filterwarnings("ignore", message="Parsed a serial number")
logging.disable(logging.CRITICAL)
main()
