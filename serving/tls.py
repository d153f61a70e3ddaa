"""TLS for both ports: read, checked and tried out before anything is loaded."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any

from common.errors import ConfigError
from serving.auth import read_named
from serving.config import TlsConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What both ports need; HTTP a context, gRPC the files' contents."""

    context: ssl.SSLContext
    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None

    def credentials(self) -> Any:
        """Makes gRPC's server credentials; it takes TLS 1.2 and later by itself."""
        import grpc

        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)],
            root_certificates=self.client_ca,
            require_client_auth=self.client_ca is not None,
        )


def read_tls(config: TlsConfig) -> Tls:
    """Reads the files.

    Raises:
      ConfigError: which of them cannot be used, and why.
    """
    certificate = read_named("tls.certificate", config.certificate)
    key = read_named("tls.key", config.key)
    if b"ENCRYPTED" in key:
        raise ConfigError(
            f"tls.key: {config.key} is encrypted; expected a private key without a passphrase, "
            "in a file that only the server may read."
        )
    authorities = _authorities("tls.certificate", config.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(config.certificate, config.key)
    except ssl.SSLError as e:
        if e.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"tls.key: {config.key} is not the key of the certificate {config.certificate}."
            ) from None
        raise ConfigError(
            f"tls.key: {config.key}: expected the certificate's private key in PEM form: "
            f"{_reason(e)}."
        ) from None
    _rehearse(context, authorities, config.certificate)
    client_ca = None
    if config.client_ca:
        client_ca = read_named("tls.client_ca", config.client_ca)
        _authorities("tls.client_ca", config.client_ca)
        context.load_verify_locations(config.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return Tls(context=context, certificate=certificate, key=key, client_ca=client_ca)


def _authorities(name: str, path: str) -> ssl.SSLContext:
    """Makes a client's context that trusts the certificates of a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as e:
        raise ConfigError(
            f"{name}: {path}: expected certificates in PEM form: {_reason(e)}."
        ) from None
    return context


def _rehearse(server: ssl.SSLContext, client: ssl.SSLContext, path: str) -> None:
    """Shakes hands in memory, with a client that trusts the certificate.

    Raises:
      ConfigError: no client would take it: it has expired, or is none of a server.
    """
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trusts it without its authority
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    try:
        for _ in range(4):  # messages go to and fro
            for end in ends:
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLCertVerificationError as e:
        raise ConfigError(f"tls.certificate: {path}: {e.verify_message}.") from None
    except ssl.SSLError as e:
        raise ConfigError(f"tls.certificate: {path}: {_reason(e)}.") from None


def _reason(error: ssl.SSLError) -> str:
    """Returns OpenSSL's words, such as "no start line"."""
    return (error.reason or str(error)).lower().replace("_", " ")
