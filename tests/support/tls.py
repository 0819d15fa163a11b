"""Certificates for tests: an authority of their own and what it signs, by openssl."""

import subprocess
from pathlib import Path


class Authority:
    """Its files are in `folder`; valid for two days."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._openssl(
            "req", "-x509", *NEW, "-days", "2", "-subj", "/CN=tests", "-addext", "keyUsage=critical,keyCertSign",
            "-keyout", "ca.key", "-out", "ca.crt",
        )  # fmt: skip

    @property
    def certificate(self) -> str:
        return (self.folder / "ca.crt").read_text()

    def signed(self, name: str, *hosts: str) -> tuple[str, str]:
        """The certificate and the key of a server with these host names, in PEM."""
        (self.folder / "ext").write_text(
            f"basicConstraints=CA:FALSE\nsubjectAltName={','.join(f'DNS:{host}' for host in hosts)}\n"
        )
        self._openssl("req", *NEW, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "ext", "-out", f"{name}.crt",
        )  # fmt: skip
        return (self.folder / f"{name}.crt").read_text(), (self.folder / f"{name}.key").read_text()

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True, timeout=60)


NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
