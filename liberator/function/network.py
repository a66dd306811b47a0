"""Which addresses an HTTP function may be called at: public ones, and private ones that are allowed by name.

Enters: a host. Leaves: a connection, or `Private`. A name is resolved once, and what it was resolved to is judged and
connected to: a name server that gives a public address first and a private one then gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import ClassVar

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Private(Exception):
    """The host is in a private network."""


def may_be_called(address: str, allowed: Sequence[Network] = ()) -> bool:
    """Is it a public address, or one of an allowed network? One that carries another (IPv4 in IPv6, as mapped, 6to4,
    Teredo and NAT64 do) is judged by that."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = _carried(found)
    if any(found in network or (inner is not None and inner in network) for network in allowed):
        return True
    judged = found if inner is None else inner
    return judged.is_global and not judged.is_multicast


def _carried(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


class _Guarded(HTTPConnection):
    """Connects to addresses that it has judged."""

    allowed: ClassVar[Sequence[Network]] = ()

    def _new_conn(self) -> socket.socket:
        name, failure = self._dns_host, None
        for address in self._addresses(name):
            self._dns_host = address
            try:
                return super()._new_conn()
            except NewConnectionError as error:
                failure = error
            finally:
                self._dns_host = name
        raise failure or NewConnectionError(self, "the name has no address")

    def _addresses(self, name: str) -> list[str]:
        try:
            found = socket.getaddrinfo(name, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        for address in addresses:
            if not may_be_called(address, self.allowed):
                is_what = f"{name} is" if name == address else f"{name} is {address},"
                raise Private(
                    f"{is_what} an address of a private network, and allow_private does not name it"
                )
        return addresses


class _GuardedTls(_Guarded, HTTPSConnection):
    """The same, under TLS: the certificate is the name's."""


def guard(pool: urllib3.PoolManager, allowed: Sequence[Network]) -> None:
    """Have it connect to nothing else."""
    plain = type("Plain", (_Guarded,), {"allowed": allowed})
    tls = type("Tls", (_GuardedTls,), {"allowed": allowed})
    pool.pool_classes_by_scheme = {
        "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }
