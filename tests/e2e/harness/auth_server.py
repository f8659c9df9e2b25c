# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""auth_server - a server for nginx's auth_http, as an operator would write it

	with AuthServer() as server:
	    server.users["jan"] = lambda login: {"Auth-Status": "OK", ...}
	    ... server.url ...
	    server.requests[0].raw

A user's function gets the Login and returns the header lines of the answer.
Who is not listed is refused.
"""
import http.server
import threading
import urllib.parse

# latin-1 on both sides keeps each byte what it is
_quoted = {"encoding": "latin-1"}


class Login:
    def __init__(self, raw, headers):
        self.raw, self.headers = raw, headers
        self.user, self.password = (
            urllib.parse.unquote(headers.get(name, ""), **_quoted)
            for name in ("Auth-User", "Auth-Pass"))
        self.attempt = int(headers["Auth-Login-Attempt"])


class _Recorder:
    """A file that remembers the lines that were read from it."""

    def __init__(self, file):
        self.file, self.said = file, b""

    def readline(self, *args):
        line = self.file.readline(*args)
        self.said += line
        return line

    def close(self):
        self.file.close()

    closed = property(lambda self: self.file.closed)


class _Handler(http.server.BaseHTTPRequestHandler):
    def setup(self):
        super().setup()
        self.rfile = _Recorder(self.rfile)

    def do_GET(self):
        login = Login(self.rfile.said, self.headers)
        self.server.requests.append(login)
        answer = self.server.users.get(login.user, lambda _: {
            "Auth-Status": "Invalid login or password"})(login)
        self.send_response(200)
        for name, value in answer.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100


class AuthServer:
    def __enter__(self):
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.users = self.server.users = {}
        self.requests = self.server.requests = []
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/auth"
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def of(self, user):
        """What was asked about this user."""
        return [r for r in self.requests if r.user == user]
