#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""sources PROGRAM - runs bench_sources beside a real nginx and a real slapd

A server that is not installed is left out.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests")]

from harness.certs import Authority  # noqa: E402
from harness.procs import (Process, free_port,  # noqa: E402
                           port_accepts, wait_until)
from harness.slapd import PEOPLE, Slapd, person  # noqa: E402

USERS = 20000
SBIN = "/usr/sbin:/usr/bin:/sbin:/bin"

NGINX = """
worker_processes 1;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/nginx.error;
events {{ worker_connections 1000; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path {dir}/1;
  proxy_temp_path {dir}/2;
  fastcgi_temp_path {dir}/3;
  uwsgi_temp_path {dir}/4;
  scgi_temp_path {dir}/5;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 '{{"pool": "main"}}'; }}
  }}
}}
"""


def start_nginx(place, started):
    port, conf = free_port(), place / "nginx.conf"
    conf.write_text(NGINX.format(dir=place, port=port))
    process = Process([shutil.which("nginx", path=SBIN), "-c", conf],
                      place / "nginx.out")
    process.start()
    started.append(process)
    wait_until(lambda: port_accepts(port), "nginx")
    return ["http", 'table t { type = http  cache = 0  url = '
            f'"http://127.0.0.1:{port}/where?user=%s" }}']


def start_slapd(place, started):
    authority = Authority(place / "ca")
    slapd = Slapd(place / "slapd",
                  authority.issue("ldap.test", "IP:127.0.0.1"),
                  [person(f"user{n:06}@example.org", mailHost="main")
                   for n in range(USERS)],
                  maxsize=1 << 30, others="read")
    started.append(slapd)
    slapd.start()
    return ["ldap", f'table t {{ type = ldap  cache = 0  url = "{slapd.url}"'
            f'  base = "{PEOPLE}"  filter = "(uid=%s)"'
            "  attribute = mailHost }"]


def main():
    arguments, started = [], []
    place = pathlib.Path(tempfile.mkdtemp(prefix="mw-sources-"))
    place.chmod(0o755)
    try:
        for name, start in (("nginx", start_nginx), ("slapd", start_slapd)):
            if shutil.which(name, path=SBIN):
                arguments += start(place, started)
        return subprocess.call([sys.argv[1], *arguments])
    finally:
        for one in started:
            one.stop()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
