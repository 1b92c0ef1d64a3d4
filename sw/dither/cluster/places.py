"""Where a run can be reached, and who may: loopback, or TLS with certificates on both sides.

Dask's own messages are pickled, and whoever may send them may run code here. So a run listens on
this computer alone unless certificates are given. With them, both ends show one that the same
authority has signed before a byte is read: there are no strangers then.
"""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any

from ..arch.device import DeviceError

__all__ = ["LOOPBACK", "TLS_FILES", "check_place", "security"]

LOOPBACK = "tcp://127.0.0.1:0"
"""Where a run listens unless told otherwise: on this computer alone, at any free port."""
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")
"""Files of a folder of certificates: the authority's, one's own, and its key."""


def check_place(address: str, tls: Path | None) -> tuple[str, str, int]:
    """Returns scheme, host and port of an address.

    :param address: such as ``tcp://127.0.0.1:8786`` or ``tls://10.0.0.1:8786``; the scheme may be
        left out.
    :param tls: folder of certificates, if any.
    :raises DeviceError: if it is no address, or one that strangers can reach, without certificates.
    """
    scheme, _, rest = address.rpartition("://")
    scheme = scheme or ("tls" if tls else "tcp")
    host, _, port = rest.rpartition(":")
    host = host.strip("[]")
    if scheme not in ("tcp", "tls") or not host or not port.isdecimal() or int(port) > 65535:
        raise DeviceError(f"{address!r} is no address; give one such as tcp://127.0.0.1:8786 or tls://HOST:8786")
    if scheme == "tcp" and tls is not None:
        raise DeviceError(f"{address}: with --tls the address must begin with tls://")
    if tls is None and (scheme == "tls" or not _loopback(host)):
        raise DeviceError(
            f"{address}: only addresses of this computer can do without certificates; use 127.0.0.1, or tls:// "
            f"with --tls FOLDER ({', '.join(TLS_FILES)})"
        )
    return scheme, host, int(port)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A name may lead anywhere, but for this one.
        return host == "localhost"


def security(tls: Path | None) -> Any:
    """Returns what Dask needs to know of certificates; nothing without any.

    :raises DeviceError: if a file is missing, or holds nothing of the kind.
    """
    from distributed import Security

    if tls is None:
        return Security(require_encryption=False)
    for name in TLS_FILES:
        if not (tls / name).is_file():
            raise DeviceError(f"{tls / name} is missing; a folder of certificates holds {', '.join(TLS_FILES)}")
    ca, cert, key = (str(tls / name) for name in TLS_FILES)
    try:
        context = ssl.create_default_context(cafile=ca)
        context.load_cert_chain(cert, key)
    except OSError as error:
        raise DeviceError(f"{tls}: the certificates cannot be used: {error}; make new ones") from None
    ends = {
        f"tls_{end}_{kind}": path
        for end in ("scheduler", "worker", "client")
        for kind, path in (("cert", cert), ("key", key))
    }
    return Security(require_encryption=True, tls_ca_file=ca, **ends)
