"""A Kafka that asks for passwords, rights and certificates. Its plain listener belongs to an administrator."""

from __future__ import annotations

import subprocess
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from liberator.testing.servers import KafkaServer
from liberator.testing.servers.process import free_port

_PASSWORD = "changeit"


class SecuredKafka:
    """listeners: `plain` (the administrator's), `sasl` (users writer, stranger, nobody), `tls` (a self-signed
    certificate).
    """

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "server.pem"
        _make_certificate(folder, self.certificate)
        self._sasl, self._tls, controller = free_port(), free_port(), free_port()
        self._server = KafkaServer()
        self._server.properties.update(self._properties(folder, controller))

    @property
    def plain(self) -> str:
        return self._server.bootstrap

    @property
    def sasl(self) -> str:
        return f"kafka://127.0.0.1:{self._sasl}"

    @property
    def tls(self) -> str:
        return f"kafka://127.0.0.1:{self._tls}"

    def start(self) -> SecuredKafka:
        self._server.start()
        return self

    def close(self) -> None:
        self._server.close()

    def allow(self, user: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
        """Grant; `name` is a prefix."""
        admin = AdminClient({"bootstrap.servers": self.plain})
        bindings = [
            AclBinding(
                kind,
                name,
                ResourcePatternType.PREFIXED
                if kind is not ResourceType.BROKER
                else ResourcePatternType.LITERAL,
                f"User:{user}",
                "*",
                operation,
                AclPermissionType.ALLOW,
            )
            for operation in operations
        ]
        for answer in admin.create_acls(bindings).values():
            answer.result(120)

    def _properties(self, folder: Path, controller: int) -> dict[str, object]:
        plain = self._server.port
        listeners = (
            f"PLAINTEXT://127.0.0.1:{plain},LOGIN://127.0.0.1:{self._sasl},TLS://127.0.0.1:{self._tls}"
        )
        users = (
            'username="none" password="none" user_writer="right" user_stranger="right" user_nobody="right"'
        )
        login = f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
        return {
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT,TLS:SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.login.plain.sasl.jaas.config": login,
            "ssl.keystore.location": folder / "server.p12",
            "ssl.keystore.password": _PASSWORD,
            "ssl.keystore.type": "PKCS12",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }


def _make_certificate(folder: Path, certificate: Path) -> None:
    """A key with a self-signed certificate for 127.0.0.1, made by Java's own tool."""
    store = [
        "-keystore",
        str(folder / "server.p12"),
        "-storetype",
        "PKCS12",
        "-storepass",
        _PASSWORD,
        "-alias",
        "it",
    ]
    key = [
        "-keyalg",
        "RSA",
        "-keysize",
        "2048",
        "-dname",
        "CN=liberator",
        "-ext",
        "SAN=IP:127.0.0.1",
        "-validity",
        "2",
    ]
    subprocess.run(["keytool", "-genkeypair", *store, *key], check=True, capture_output=True)
    exported = subprocess.run(["keytool", "-exportcert", "-rfc", *store], check=True, capture_output=True)
    certificate.write_bytes(exported.stdout)
