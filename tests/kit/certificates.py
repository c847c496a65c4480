"""Certificates made for one test by the `openssl` command: an authority, and what it signs."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """Two PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority of its own, in a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.ca = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            "req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.ca, "-days", "2", "-subj", f"/CN={name}",
            "-addext", "keyUsage=critical,keyCertSign", "-addext", "basicConstraints=critical,CA:TRUE",
        )  # fmt: skip

    def issue(self, name: str, *names: str, expired: bool = False) -> Certificate:
        """A certificate for these subject alternative names (`DNS:…`, `IP:…`)."""
        key, request, certificate = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(names)}\n" if names else "basicConstraints=CA:FALSE\n")
        _openssl("req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        # Without certificates to revoke, `ca` is the one command that can date a certificate back.
        index = self.folder / f"{name}.index"
        index.touch()
        serial = self.folder / f"{name}.serial"
        serial.write_text(f"{1000 + len(list(self.folder.glob('*.serial')))}\n")
        settings = self.folder / f"{name}.cnf"
        settings.write_text(_CA_SETTINGS.format(index=index, serial=serial, folder=self.folder))
        dates = ("20200101000000Z", "20200102000000Z") if expired else ("20200101000000Z", "20400101000000Z")
        _openssl(
            "ca", "-batch", "-config", settings, "-cert", self.ca, "-keyfile", self._key, "-in", request, "-out",
            certificate, "-startdate", dates[0], "-enddate", dates[1], "-extfile", extensions, "-notext",
        )  # fmt: skip
        return Certificate(certificate, key)

    def server(self, issued: Certificate, *, clients: Authority | None = None) -> ssl.SSLContext:
        """What a server with this certificate needs; `clients`: whose clients alone it serves."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(issued.certificate, issued.key)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients.ca)
        return context


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_CA_SETTINGS = """
[ca]
default_ca = own
[own]
database = {index}
serial = {serial}
new_certs_dir = {folder}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
