# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""certs - a small certificate authority, by the openssl command"""
import subprocess


def _openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True,
                   capture_output=True)


class Authority:
    """Signs certificates into a directory; ca.cert is its own."""

    def __init__(self, directory, name="Test CA"):
        self.dir = directory
        self.dir.mkdir(parents=True, exist_ok=True)
        self.cert, self.key = self.dir / "ca.pem", self.dir / "ca.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", f"/CN={name}", "-keyout", self.key,
                 "-out", self.cert, "-addext",
                 "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name, *alt_names, common_name=None, days=2, client=False):
        """The paths of a new certificate and its key.  An alternative name is
        written as OpenSSL has it: DNS:mail.test, IP:127.0.0.1,
        email:alice@example.org."""
        cert, key = self.dir / f"{name}.pem", self.dir / f"{name}.key"
        request, ext = self.dir / f"{name}.csr", self.dir / f"{name}.ext"
        ext.write_text(
            "basicConstraints=CA:FALSE\n"
            f"extendedKeyUsage={'clientAuth' if client else 'serverAuth'}\n"
            + (f"subjectAltName={','.join(alt_names)}\n" if alt_names else ""))
        _openssl("req", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:P-256", "-nodes", "-subj",
                 f"/CN={common_name or name}", "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey",
                 self.key, "-CAcreateserial", "-days", days, "-extfile", ext,
                 "-out", cert)
        return cert, key
