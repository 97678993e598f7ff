"""What all cases share: the program, certificates, alerts."""
import os
import ssl
import subprocess

from .alerts import write_alerts

# Names in the certificates.
MANAGER, SENSOR, RECEIVER, SENDER = "manager.example.com", "sensor-1", "receiver.example.com", "sender.example.com"


class Bench:
    """What all cases share: the program, certificates, alerts."""

    def __init__(self, arguments, folder):
        self.watchfire, self.dir = arguments.watchfire, folder
        # Debian has rsyslogd where only root looks.
        self.path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        self.pki = folder / "pki"
        self._alerts = {}
        self._pki("init")
        for profile, name in (
            ("iap-manager", MANAGER),
            ("iap-analyzer", SENSOR),
            ("tls-server", RECEIVER),
            ("tls-client", SENDER),
        ):
            self.issue(profile, name)

    def issue(self, profile, name):
        """Writes pki/NAME.pem and pki/NAME.key."""
        self._pki("issue", "--profile", profile, "--name", name)

    def _pki(self, *arguments):
        command = [self.watchfire, "pki", *arguments, "--dir", self.pki]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def alerts(self, count):
        if count not in self._alerts:
            self._alerts[count] = self.dir / f"alerts-{count}"
            write_alerts(self._alerts[count], count)
        return self._alerts[count]

    def client_context(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(self.pki / f"{name}.pem", self.pki / f"{name}.key")
        context.load_verify_locations(self.pki / "ca.pem")
        return context

    @staticmethod
    def patience(count):
        """Seconds after which a round counts as hanging: slower than 500 alerts/s."""
        return 60 + count / 500
