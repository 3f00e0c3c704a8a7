"""Check of a plant's or an operator's key folder, as `aegis keys` makes it: `ca.pem`, `certificate.pem`, `private.pem`.
The folder is checked before a session opens, because Zenoh's errors name neither the file nor its fault."""

import os
import ssl
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

from aegis_access import AUTHORITY, CERTIFICATE, PRIVATE

ENDS_SOON_S = 24 * 60 * 60  # Remaining validity at or below which a warning is issued, seconds.
NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which the module `ssl` has no name.
MAKE = "`aegis keys` makes one"


class KeysError(ValueError):
    """A key file cannot be used: names the file, what was found, and what is valid."""

    def __init__(self, file: Path, found: str, valid: str):
        super().__init__(f"{file}: {found}; valid is {valid}")


def check(folder: str, plant: str, now: float | None = None, party: str = "plant") -> list[str]:
    """Checks a key folder for serving the plant named `plant`, or for another `party` that connects to it; returns warnings, one
    sentence each.

    `now` is in seconds since 1970; the default is the machine's clock. Raises KeysError for a file that is missing or is
    not PEM; for a private key that other users can read or that does not belong to the certificate; and for a certificate
    that another authority signed, that is not for this plant, that has expired, or that is not yet valid.
    """
    place = Path(folder)
    # Zenoh joins its TLS settings into one string, in which these characters are separators.
    if any(character in folder for character in ";?#"):
        raise KeysError(place, "its path holds one of ; ? #", "a path without them")
    for name, label, what in (
        (AUTHORITY, "CERTIFICATE-----", "a certificate"),
        (CERTIFICATE, "CERTIFICATE-----", "a certificate"),
        (PRIVATE, "PRIVATE KEY-----", "a private key"),
    ):
        try:
            data = (place / name).read_bytes()
        except OSError as error:
            raise KeysError(place / name, error.strerror or str(error), f"{what} in PEM; {MAKE}") from None
        if label.encode() not in data:
            found = f"{len(data)} bytes without a line that ends in {label!r}"
            raise KeysError(place / name, found, f"{what} in PEM; {MAKE}")
    mode = stat.S_IMODE(os.stat(place / PRIVATE).st_mode)
    if os.name == "posix" and mode & 0o077:
        raise KeysError(place / PRIVATE, f"others can use it, its mode is {mode:04o}", "mode 0600, its owner alone")
    authorities, certificate = _read(place, connects=party != "plant")
    now = time.time() if now is None else now
    warnings = []
    for name, fields in [(CERTIFICATE, certificate), *((AUTHORITY, one) for one in authorities)]:
        warnings += _dates(place / name, fields, now)
    names = [value for group in certificate["subject"] for key, value in group if key == "commonName"]
    if names not in ([party], [f"{party}.{plant}"]):
        found = f"its common name is {', '.join(names) or 'missing'}"
        valid = f"{party} or {party}.{plant}: the folder keys/{party} of `aegis keys`"
        raise KeysError(place / CERTIFICATE, found, valid)
    return warnings


def _read(folder: Path, connects: bool) -> tuple[list[dict], dict]:
    """Returns the authorities and the certificate in the form of the module `ssl`. A TLS handshake in memory first checks that
    the key belongs to the certificate, that an authority of the folder signed it, and that it is for listening or, of a party that
    `connects`, for connecting. Dates are not checked."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    judge = server if connects else client
    client.verify_mode = ssl.CERT_NONE if connects else ssl.CERT_REQUIRED
    server.verify_mode = ssl.CERT_REQUIRED if connects else ssl.CERT_NONE
    judge.verify_flags |= NO_CHECK_TIME
    try:
        judge.load_verify_locations(folder / AUTHORITY)
    except ssl.SSLError as error:
        raise KeysError(folder / AUTHORITY, f"not readable: {_said(error)}", f"a certificate in PEM; {MAKE}") from None
    try:
        # Without this argument, OpenSSL would ask for an encrypted key's password on the terminal.
        for side in (server, client) if connects else (server,):
            side.load_cert_chain(folder / CERTIFICATE, folder / PRIVATE, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            found = f"it is not the key of {CERTIFICATE}"
            raise KeysError(folder / PRIVATE, found, "both files of one folder of `aegis keys`") from None
        found = f"not readable together with {PRIVATE}: {_said(error)}"
        raise KeysError(folder / CERTIFICATE, found, "both files of one folder of `aegis keys`") from None
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(to_server, to_client, server_side=True)
    there = client.wrap_bio(to_client, to_server)
    for side in (there, here, there, here) if connects else (there, here, there):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            found = f"{AUTHORITY} does not vouch for it: {error.verify_message}"
            what = "connecting" if connects else "listening"
            valid = f"a certificate for {what} that the authority in {AUTHORITY} signed; {MAKE}"
            raise KeysError(folder / CERTIFICATE, found, valid) from None
        except ssl.SSLError as error:
            found = f"no TLS connection can be made with it: {_said(error)}"
            raise KeysError(folder / CERTIFICATE, found, f"a certificate for TLS 1.3; {MAKE}") from None
    return judge.get_ca_certs(), (here if connects else there).getpeercert()


def _said(error: ssl.SSLError) -> str:
    return error.reason or str(error)


def _dates(file: Path, fields: dict, now: float) -> list[str]:
    """Raises KeysError for a certificate that is not valid at `now`; returns a warning for a certificate that ends soon."""
    begin, end = (ssl.cert_time_to_seconds(fields[name]) for name in ("notBefore", "notAfter"))
    again = "`aegis keys` makes a new one"
    if now > end:
        found = f"the certificate expired at {utc(end)}, and it is {utc(now)}"
        raise KeysError(file, found, f"a certificate that has not ended; {again}")
    if now < begin:
        found = f"the certificate begins at {utc(begin)}, and by this machine's clock it is {utc(now)}"
        raise KeysError(file, found, f"a certificate that has begun; set the clock, or {again}")
    if end - now <= ENDS_SOON_S:
        return [f"{file}: the certificate ends at {utc(end)}, and links with it end then; {again}"]
    return []


def utc(seconds: float) -> str:
    """Formats seconds since 1970 as a date and time to the minute, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
