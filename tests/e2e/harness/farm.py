# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""farm - Dovecots over one mail directory, as behind a mail farm's NFS

	farm = SharedFarm(directory, certificate)
	farm.start()                    or: farm["d2"].start()
	users = farm.take(200)          that nobody else uses
	farm.overlaps(users)            what must be empty

Each server tells its name to a client that sends ID.
"""
import collections
import datetime
import itertools
import re

from .dovecot import Dovecot

USERS = 2000

# A server's log may be late by so much on a busy machine.
LATE_S = 1.5

_LINE = re.compile(
    r"^(?P<at>\w{3} \d\d \d\d:\d\d:\d\d\.\d{6}) (?:"
    r"imap-login: Info: Login: user=<(?P<login>[^>]*)>.*"
    r"session=<(?P<in>[^>]*)>"
    r"|imap\((?P<user>[^)]*)\)<\d+><(?P<out>[^>]*)>: Info: "
    r"(?:Disconnected|Logged out|Connection closed|Server shutting))")

Stay = collections.namedtuple("Stay", "user server begin end")


class SharedFarm:
    def __init__(self, directory, certificate, names=("d1", "d2", "d3")):
        self.users = [f"s{n}@example.org" for n in range(USERS)]
        self._next = iter(self.users)
        self.servers = {
            name: Dovecot(directory / name, name, certificate, self.users,
                          extra=f"imap_id_send = name {name}",
                          mail=directory / "mail")
            for name in names}

    def __getitem__(self, name):
        return self.servers[name]

    def start(self):
        for server in self.servers.values():
            if not (server.process and server.process.running()):
                server.start()
        return self

    def stop(self):
        """At once: nobody looks at them any more."""
        for server in self.servers.values():
            server.kill()

    def take(self, n):
        taken = list(itertools.islice(self._next, n))
        assert len(taken) == n, "the farm has too few users"
        return taken

    def deliver(self, user, *messages):
        next(iter(self.servers.values())).deliver(user, *messages)

    def stays(self, users, killed=()):
        """When the users were where, as the servers' logs have it.  One that
        was killed had no last words: killed holds the (server, time)s."""
        users, found = set(users), []
        for server in self.servers.values():
            deaths = [at for name, at in killed if name == server.name]
            present = {}
            for line in server.log().splitlines():
                match = _LINE.match(line)
                if not match:
                    continue
                at = datetime.datetime.strptime(
                    match["at"], "%b %d %H:%M:%S.%f").replace(
                        year=datetime.date.today().year).timestamp()
                if match["login"] in users:
                    present[match["in"]] = (match["login"], at)
                elif match["out"] in present:
                    user, begin = present.pop(match["out"])
                    found.append(Stay(user, server.name, begin, at))
            for user, begin in present.values():
                end = min((at for at in deaths if at > begin),
                          default=float("inf"))
                found.append(Stay(user, server.name, begin, end))
        return found

    def overlaps(self, users, killed=()):
        """Stays of a user at two servers at one time."""
        of = collections.defaultdict(list)
        for stay in self.stays(users, killed):
            of[stay.user].append(stay)
        return [(a, b) for stays in of.values()
                for a, b in itertools.permutations(stays, 2)
                if a.server != b.server and a.begin <= b.begin
                and b.begin < a.end - LATE_S]
