"""Rates of a sensor with libprelude and one prelude-manager."""
import functools
import mmap
import os
import re
import secrets
import shutil
import subprocess
import time
from pathlib import Path

from common.machine import first_line
from common.net import free_port, listens
from common.processes import CaseFailed, Foreign

from .alerts import alert
from .processes import Round, Site

NEEDS = "needs the packages libprelude-dev, prelude-manager and prelude-utils, a C compiler, and pkg-config"
SOURCE = Path(__file__).with_name("prelude_sender.c")
MANAGER, SENSOR = "manager", "sensor"

# A private view of the folders that Prelude's programs have built in; no privilege is needed, and the system's own
# profiles and configuration are neither seen nor touched.
INSIDE = """\
mount --bind "$1" /etc/prelude/profile &&
mount --bind "$2" /var/spool/prelude &&
mount --bind "$3" /run &&
mount --bind "$4" /etc/prelude-manager &&
shift 4 && exec "$@"
"""

# The default of 1 MiB makes the manager put on disk what it cannot report at once.
CONFIGURATION = "sched-buffer-size = 512M\ndh-parameters-regenerate = 0\n"

# The report plugins write their files by so many octets. To push the last alert out, others follow it.
FILE_BUFFER = 4096
NUMBER = re.compile(rb'messageid(?:: |=")m([0-9]{10})')


class Prelude:
    """What is done once: the sender is compiled, the sensor registered with the manager."""

    def __init__(self, bench):
        self.dir, self.path = bench.dir / "prelude", bench.path
        self.manager, self.admin = self._program("prelude-manager"), self._program("prelude-admin")
        compiler, configured = self._program("cc"), self._program("pkg-config")
        self.unshare = self._program("unshare")
        shutil.rmtree(self.dir, ignore_errors=True)
        for folder in ("profile", "run/prelude-manager", "etc", "spool"):
            (self.dir / folder).mkdir(parents=True)
        self.sender = self.dir / "prelude_sender"
        found = subprocess.run([configured, "--cflags", "--libs", "libprelude"], capture_output=True, text=True)
        if found.returncode:
            raise CaseFailed(f"{NEEDS}; pkg-config knows no libprelude")
        self._run(compiler, "-O2", "-o", self.sender, SOURCE, *found.stdout.split())
        (self.dir / "etc" / "prelude-manager.conf").write_text(CONFIGURATION)
        self._register(bench)
        self._start_once(bench)

    def _program(self, name):
        found = shutil.which(name, path=self.path)
        if not found:
            raise CaseFailed(f"{NEEDS}; there is no {name}" if name != "unshare" else "needs unshare of util-linux")
        return found

    def inside(self, spool, *command):
        """The command, with the bench's folders in the place of Prelude's."""
        for name in (MANAGER, SENSOR):
            (spool / name).mkdir(parents=True, exist_ok=True)
        folders = self.dir / "profile", spool, self.dir / "run", self.dir / "etc"
        return self.unshare, "--map-root-user", "--mount", "sh", "-c", INSIDE, "inside", *folders, *command

    def managing(self, spool, port, *report):
        command = self.manager, "--prelude", "--profile", MANAGER, "--listen", f"127.0.0.1:{port}"
        return self.inside(spool, *command, *report)

    def _run(self, *command):
        try:
            done = subprocess.run(
                [str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
            )
        except subprocess.TimeoutExpired:
            raise CaseFailed(f"{Path(command[0]).name} did not end within 120 s") from None
        if done.returncode:
            said = (done.stderr + done.stdout).strip().splitlines() or ["nothing"]
            raise CaseFailed(f"{Path(command[0]).name} ended with {done.returncode} and said: {said[-1]}")

    def _register(self, bench):
        """Keys and certificates of both, as prelude-admin makes them: each trusts the other after a registration
        with a password that is used once."""
        password = self.dir / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        # Without these options it waits for a key to be pressed.
        owner = "--uid", "0", "--gid", "0"
        admin = lambda *words: self.inside(self.dir / "spool", self.admin, *words, *owner)
        self._run(*admin("add", MANAGER))
        with Site(bench, "prelude-registration") as site:
            port = free_port()
            accept = "--no-confirm", "--listen", f"127.0.0.1:{port}", "--passwd-file", password
            server = site.start("registration", *admin("registration-server", MANAGER, *accept))
            wait_for_port(port, server)
            self._run(*admin("register", SENSOR, "idmef:w", f"127.0.0.1:{port}", "--passwd-file", password))
            server.end(ask=False)
        password.unlink()

    def _start_once(self, bench):
        """A manager's first start makes parameters for Diffie-Hellman and keeps them; no round has to."""
        with Site(bench, "prelude-first") as site:
            port, kept = free_port(), self.dir / "run/prelude-manager/tls-parameters.data"
            manager = site.start("manager", *self.managing(site.dir / "spool", port))
            deadline = time.monotonic() + 120
            while not (listens(port) and kept.exists() and kept.stat().st_size):
                if manager.poll() or time.monotonic() > deadline:
                    raise CaseFailed(f"the manager does not start; {manager.last_words()}")
                time.sleep(0.05)
            manager.end()


# Once in a run, whatever the number of cases and rounds.
prepared = functools.lru_cache(maxsize=None)(Prelude)


def prelude_round(bench, count, report, shortest):
    """A sender with libprelude and a manager that writes a file; from the start of the sender's process until the
    file has the last alert. `shortest` is the least that an alert takes in the file."""
    ready = prepared(bench)
    with Site(bench, "prelude") as site:
        port, received = free_port(), site.dir / "received"
        sent = count + FILE_BUFFER // shortest + 1
        fill = len(re.search(rb"<string>(x+)</string>", alert(0)).group(1))
        receiver = site.start("receiver", *ready.managing(site.dir / "spool", port, *report, "--logfile", received))
        wait_for_port(port, receiver)
        foreign, own = Foreign(), time.process_time()
        command = ready.sender, SENSOR, f"127.0.0.1:{port}", sent, fill
        sender = site.start("sender", *ready.inside(site.dir / "spool", *command))
        deadline = time.monotonic() + bench.patience(count)
        while (last := last_number(received)) < count - 1:
            if (sender.poll() and sender.code) or receiver.poll() or time.monotonic() > deadline:
                said = f"{sender.last_words()}; {receiver.last_words()}"
                raise CaseFailed(f"{last + 1} of {count} alerts arrived; {said}")
            time.sleep(0.005)
        seconds = time.monotonic() - sender.began
        told, _ = sender.event("sent", deadline)
        used = sender.end(ask=False), receiver.end(patience=60)
        share = foreign.share(sum(used) + time.process_time() - own)
        check_trust(receiver)
        check_numbers(received, sent)
        # The alerts that followed the last are in the CPU time, too.
        one = Round(count, seconds, *(part * count / sent for part in used), share)
        one.octets = told["octets"] / sent
        return one


def prelude(bench, count):
    """The least that a manager can report: one field."""
    report = "--debug", "--object", "alert.messageid"
    return prelude_round(bench, count, report, len("alert.messageid: m0000000000\n"))


def prelude_xml(bench, count):
    """The whole alert, as IDMEF XML, longer than ours by what the manager says of itself."""
    return prelude_round(bench, count, ("--xmlmod",), len(alert(0)))


def versions():
    """Of the packages, and of the TLS library that they use."""
    packages = ("prelude-manager", "libprelude28", "libgnutls30")
    return ", ".join(f"{name} {first_line('dpkg-query', '-W', '-f', '${Version}', name)}" for name in packages)


def wait_for_port(port, child):
    deadline = time.monotonic() + 60
    while not listens(port):
        if child.poll() or time.monotonic() > deadline:
            raise CaseFailed(f"does not listen; {child.last_words()}")
        time.sleep(0.01)


def last_number(path):
    """The highest number in the file's last octets, -1 without any."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - FILE_BUFFER))
            return max((int(number) for number in NUMBER.findall(file.read())), default=-1)
    except FileNotFoundError:
        return -1


def check_trust(manager):
    """That the ended manager says to have authenticated the sensor by its certificate."""
    lines = []
    while (line := manager.lines.get(timeout=20)[1]) is not None:
        lines.append(line)
    if not any(b"TLS authentication succeed: client certificate is trusted" in line for line in lines):
        raise CaseFailed(f"no TLS with a trusted certificate; the manager said {lines}")


def check_numbers(path, sent):
    """That the file has each alert once and in order, for only then is its end where the last alert is."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as octets:
        expected = 0
        for found in NUMBER.finditer(octets):
            if int(found.group(1)) != expected:
                raise CaseFailed(f"alert {int(found.group(1))} is where alert {expected} should be")
            expected += 1
    if expected != sent:
        raise CaseFailed(f"{expected} of {sent} alerts arrived")
