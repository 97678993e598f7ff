"""The folder of a round, and what a round gives."""
import time

from common.processes import Folder

from .bench import MANAGER, SENSOR


class Site(Folder):
    """A folder for one round with programs of IAP."""

    def watchfire(self, name, *arguments):
        return self.start(name, self.bench.watchfire, "--json", "iap", name, *arguments)

    def tls(self, name):
        pki = self.bench.pki
        return "--cert", pki / f"{name}.pem", "--key", pki / f"{name}.key", "--ca", pki / "ca.pem"

    def manager(self, *arguments):
        """A manager, and where it listens."""
        manager = self.watchfire("manager", "--listen", "127.0.0.1:0", *self.tls(MANAGER), *arguments)
        listening, _ = manager.event("listening", time.monotonic() + 20)
        return manager, listening["addr"]

    def sensor(self, address, *arguments):
        return self.watchfire("sensor", "--connect", address, "--manager-name", MANAGER, *self.tls(SENSOR), *arguments)


class Round:
    """What one round of one case gave."""

    def __init__(self, count, seconds, sender, receiver, foreign):
        self.seconds, self.rate = seconds, count / seconds
        self.sender, self.receiver = sender / count * 1e6, receiver / count * 1e6
        self.foreign = foreign
