# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""nginx - a private instance of Debian's nginx, as one process

	web = Nginx(directory, http="server { listen 127.0.0.1:8080; ... }")
	web.start(port)		...	web.requests()		web.stop()

Its access log has the request line of each request, in the order of their
ends.  SIGSTOP to it is a server that stalls, SIGCONT goes on.
"""
import shutil
import signal

from .procs import Process, port_accepts, wait_until

CONF = """
{modules}
daemon off;
master_process off;
pid {dir}/pid;
error_log stderr;
events {{ worker_connections 512; }}
{sections}
"""

HTTP = """
http {{
  log_format line '$request';
  access_log {dir}/access.log line;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  {http}
}}
"""

MAIL_MODULE = "/usr/lib/nginx/modules/ngx_mail_module.so"


class Nginx:
    def __init__(self, directory, http="", mail=""):
        self.dir = directory
        self.dir.mkdir(parents=True, exist_ok=True)
        self.access = self.dir / "access.log"
        self.access.touch()
        modules = f"load_module {MAIL_MODULE};" if mail else ""
        sections = HTTP.format(dir=directory, http=http) if http else ""
        if mail:
            sections += f"mail {{\n{mail}\n}}\n"
        self.conf = self.dir / "nginx.conf"
        self.conf.write_text(CONF.format(modules=modules, dir=directory,
                                         sections=sections))
        self.process = None

    def start(self, port):
        """Returns when it accepts on that port."""
        program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin")
        self.process = Process([program, "-p", self.dir, "-c", self.conf],
                               self.dir / "nginx.log", cwd=str(self.dir))
        self.process.start()

        def ready():
            assert self.process.running(), self.process.log()
            return port_accepts(port)
        wait_until(ready, "nginx to accept")
        return self

    def requests(self):
        return self.access.read_text(errors="replace").splitlines()

    def stall(self):
        self.process.signal(signal.SIGSTOP)

    def go_on(self):
        self.process.signal(signal.SIGCONT)

    def stop(self):
        if self.process is not None:
            self.process.kill()
