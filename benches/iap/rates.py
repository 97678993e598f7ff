#!/usr/bin/env python3
"""Watchfire's programs beside rsyslog's, in the same run, on the same alerts, over loopback and mutual TLS.

python3 benches/iap/rates.py [--watchfire PATH] [--alerts N] [--rounds R] [--only CASE,..] [--write]

Prints a table; --write also puts it between the two markers in benches/README.md. What the columns mean is said there.
Exit code 0 when every case ran, 1 when one did not, 2 for bad usage.
"""
import argparse
import contextlib
import datetime
import hashlib
import itertools
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = ROOT / "benches" / "README.md"
BEGIN, END = "<!-- rates.py: begin -->", "<!-- rates.py: end -->"

OCTETS = 860
WINDOW = 2048
RELP_WINDOW = 2000
IDMEF, OPAQUE = "application/x-idef-alert", "application/octet-stream"
MANAGER, SENSOR, RECEIVER, SENDER = "manager.example.com", "sensor-1", "receiver.example.com", "sender.example.com"


class CaseFailed(Exception):
    """A case that gave no number, and why."""


# ---------------------------------------------------------------- alerts


def alert(n):
    """An alert of exactly 860 octets on one line; only the messageid differs. The loopback_rate example has the same."""
    head = (
        '<?xml version="1.0" encoding="UTF-8"?><IDMEF-Message xmlns="http://iana.org/idmef" version="1.0">'
        f'<Alert messageid="m{n:010}"><Analyzer analyzerid="sensor-1" name="suricata" class="NIDS"/>'
        '<CreateTime ntpstamp="0xe8fe6f80.0x01caafbc">2023-11-14T22:13:20.006999Z</CreateTime>'
        '<Source><Node><Address category="ipv4-addr"><address>192.0.2.50</address></Address></Node>'
        "<Service><port>40001</port></Service></Source>"
        '<Target><Node><Address category="ipv4-addr"><address>198.51.100.10</address></Address></Node>'
        "<Service><port>80</port></Service></Target>"
        '<Classification ident="1:1000001" text="phf remote command attempt"/>'
        '<Assessment><Impact severity="high" type="other">Web Application Attack</Impact></Assessment>'
        '<AdditionalData type="string" meaning="fill"><string>'
    )
    tail = "</string></AdditionalData></Alert></IDMEF-Message>"
    return (head + "x" * (OCTETS - len(head) - len(tail)) + tail).encode()


def write_alerts(path, count):
    before, after = alert(0).split(b"m0000000000")
    with open(path, "wb") as file:
        for start in range(0, count, 10_000):
            rows = range(start, min(count, start + 10_000))
            file.write(b"".join(b"%bm%010d%b\n" % (before, n, after) for n in rows))
    assert path.stat().st_size == count * (OCTETS + 1)


# ---------------------------------------------------------------- processes


class Child:
    """A process with its log in a file, the lines of its standard output with the time of their arrival, and its
    resource usage once it has ended."""

    def __init__(self, log, *command):
        self.log, self.usage, self.code = log, None, None
        self.lines = queue.Queue()
        self.began = time.monotonic()
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put((time.monotonic(), line))
        self.lines.put((time.monotonic(), None))

    def event(self, wanted, deadline):
        """The next line with that event, and when it came."""
        while True:
            try:
                when, line = self.lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise CaseFailed(f"no \"{wanted}\" in time; {self.last_words()}") from None
            if line is None:
                raise CaseFailed(f"ended without \"{wanted}\"; {self.last_words()}")
            try:
                event = json.loads(line)
            except ValueError:
                raise CaseFailed(f"wrote {line[:80]!r} where only JSON may be") from None
            if event.get("event") == wanted:
                return event, when

    def poll(self):
        """Whether it has ended. Popen's own wait would drop the resource usage."""
        if self.usage is None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self._ended(status, usage)
        return self.usage is not None

    def _ended(self, status, usage):
        self.usage, self.code = usage, os.waitstatus_to_exitcode(status)
        self.process.returncode = self.code

    def end(self, ask=True, patience=20):
        """Asks it to end and waits; CPU seconds used in its whole life."""
        if ask and not self.poll():
            self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        while not self.poll():
            if time.monotonic() > deadline:
                raise CaseFailed(f"did not end within {patience} s; {self.last_words()}")
            time.sleep(0.005)
        if self.code != 0:
            raise CaseFailed(f"ended with {self.code}; {self.last_words()}")
        return self.usage.ru_utime + self.usage.ru_stime

    def kill(self):
        if not self.poll():
            self.process.kill()
            _, status, usage = os.wait4(self.process.pid, 0)
            self._ended(status, usage)

    def last_words(self):
        text = self.log.read_text(errors="replace").strip().splitlines()
        return f"{self.log.stem} said: {text[-1][:300]}" if text else f"{self.log.stem} said nothing"

    def memory(self):
        """Resident and proportional set size, in octets."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        rollup = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return kib(status, "VmRSS"), kib(rollup, "Pss")


def kib(text, name):
    return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M).group(1)) * 1024


class Site:
    """A folder for one round: its files, and its processes, which end with it."""

    def __init__(self, bench, name):
        self.bench, self.name = bench, name

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=self.bench.dir))
        self.children = []
        return self

    def __exit__(self, *_):
        for child in self.children:
            child.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self, name, *command):
        child = Child(self.dir / f"{name}.log", *command)
        self.children.append(child)
        return child

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


class Foreign:
    """The share of the machine's CPU time that went to nobody of ours."""

    def __init__(self):
        self.busy, self.all = self._now()

    @staticmethod
    def _now():
        times = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(times) - times[3] - times[4], sum(times)

    def share(self, ours):
        busy, every = self._now()
        ticks = os.sysconf("SC_CLK_TCK")
        return max(0.0, (busy - self.busy) / ticks - ours) / max(0.01, (every - self.all) / ticks)


# ---------------------------------------------------------------- rates


class Round:
    """What one round of one case gave."""

    def __init__(self, count, seconds, sender, receiver, foreign):
        self.seconds, self.rate = seconds, count / seconds
        self.sender, self.receiver = sender / count * 1e6, receiver / count * 1e6
        self.foreign = foreign


def watchfire_round(bench, count, kind, sensor=(), manager=(), after=lambda site: None):
    """One sensor, one manager; from the start of the sensor's process to its last line."""
    with Site(bench, "watchfire") as site:
        fill = lambda arguments: [str(a).replace("{dir}", str(site.dir)) for a in arguments]
        receiver, address = site.manager(*fill(manager))
        foreign, own = Foreign(), time.process_time()
        arguments = ["--input", bench.alerts(count), "--content-type", kind, "--window", WINDOW]
        sender = site.sensor(address, *arguments, "--exit-when-drained", *fill(sensor))
        drained, when = sender.event("drained", time.monotonic() + bench.patience(count))
        seconds = when - sender.began
        used = sender.end(ask=False), receiver.end()
        share = foreign.share(sum(used) + time.process_time() - own)
        if (drained["sent"], drained["acked"], drained["rejected"]) != (count, count, 0):
            raise CaseFailed(f"the sensor's last line is {drained}")
        after(site)
        return Round(count, seconds, *used, share)


def output_is_whole(bench, count):
    """A check that an NDJSON file has each body, in order."""

    def check(site):
        with open(site.dir / "alerts.ndjson", "rb") as got, open(bench.alerts(count), "rb") as sent:
            for number, (line, body) in enumerate(itertools.zip_longest(got, sent), 1):
                wanted = body and hashlib.sha256(body.rstrip(b"\n")).hexdigest()
                if not line or not body or json.loads(line)["sha256"] != wanted:
                    raise CaseFailed(f"line {number} of the output is not alert {number}: {line!r:.80}")

    return check


def store_is_whole(count):
    """A check that a SQLite store has each alert once."""

    def check(site):
        with contextlib.closing(sqlite3.connect(site.dir / "alerts.db")) as store:
            found = store.execute("SELECT count(*), count(DISTINCT body), min(length(body)) FROM alert").fetchone()
        if found != (count, count, OCTETS):
            raise CaseFailed(f"rows, different bodies, shortest body are {found} instead of {(count, count, OCTETS)}")

    return check


NULL = ("--output", "ndjson:/dev/null", "--output-sync", "never")


def opaque(bench, count):
    return watchfire_round(bench, count, OPAQUE, manager=NULL)


def idmef(bench, count):
    return watchfire_round(bench, count, IDMEF, manager=NULL)


def file(bench, count):
    arguments = ("--output", "ndjson:{dir}/alerts.ndjson", "--output-sync", "never")
    return watchfire_round(bench, count, OPAQUE, manager=arguments, after=output_is_whole(bench, count))


def durable(bench, count):
    sensor, manager = ("--spool", "{dir}/spool"), ("--store", "sqlite:{dir}/alerts.db")
    return watchfire_round(bench, count, IDMEF, sensor, manager, store_is_whole(count))


# Queues are roomier and batches larger than rsyslog's defaults: both help it here.
MAIN_QUEUE = 'main_queue(queue.size="100000" queue.dequeueBatchSize="2048")'

SENDING = """\
global(workDirectory="{dir}/sender"{global_tls})
{load}
module(load="imfile")
{queue}
template(name="line" type="string" string="<%pri%>1 %timestamp:::date-rfc3339% %hostname% %app-name% - - - %msg%\\n")
input(type="imfile" file="{input}" tag="watchfire:" facility="local0" severity="notice" freshStartTail="off"
      ruleset="out")
ruleset(name="out") {{
  {action}
}}
"""

RECEIVING = """\
global(workDirectory="{dir}/receiver"{global_tls})
{load}
{queue}
template(name="body" type="string" string="%msg%\\n")
input({input} ruleset="in")
ruleset(name="in") {{
  action(type="omfile" file="{dir}/received" template="body" ioBufferSize="64k")
}}
"""

SEND_LINE = """template="line\""""


def rsyslog_round(bench, count, sending, receiving):
    """One rsyslogd reads the file and sends, another receives and writes; from the start of the sender's process to
    the last octet in the receiver's file."""
    if not shutil.which("rsyslogd", path=bench.path):
        raise CaseFailed("rsyslogd is not installed")
    with Site(bench, "rsyslog") as site:
        port, received = free_port(), site.dir / "received"
        programs = []
        for name, certificate, text, values in (
            ("receiver", RECEIVER, RECEIVING, receiving),
            ("sender", SENDER, SENDING, sending),
        ):
            (site.dir / name).mkdir()
            own = bench.pki / certificate
            known = {"dir": site.dir, "ca": bench.pki / "ca.pem", "cert": f"{own}.pem", "key": f"{own}.key"}
            known |= {"port": port, "peer": SENDER if name == "receiver" else RECEIVER}
            filled = {key: value.format(**known) for key, value in values.items()}
            filled.setdefault("input", str(bench.alerts(count)))
            (site.dir / f"{name}.conf").write_text(text.format(dir=site.dir, queue=MAIN_QUEUE, **filled))
            command = shutil.which("rsyslogd", path=bench.path), "-n", "-f", site.dir / f"{name}.conf"
            programs.append((name, *command, "-i", site.dir / f"{name}.pid"))

        receiver = site.start(*programs[0])
        deadline = time.monotonic() + 20
        while not listens(port):
            if receiver.poll() or time.monotonic() > deadline:
                raise CaseFailed(f"does not listen; {receiver.last_words()}")
            time.sleep(0.01)
        foreign, own = Foreign(), time.process_time()
        sender = site.start(*programs[1])
        deadline, wanted = time.monotonic() + bench.patience(count), count * (OCTETS + 1)
        while size(received) < wanted:
            if sender.poll() or receiver.poll() or time.monotonic() > deadline:
                said = f"{sender.last_words()}; {receiver.last_words()}"
                raise CaseFailed(f"{size(received)} of {wanted} octets arrived; {said}")
            time.sleep(0.002)
        seconds = time.monotonic() - sender.began
        used = sender.end(), receiver.end()
        share = foreign.share(sum(used) + time.process_time() - own)
        # The order is not looked at: rsyslog's queues have several workers.
        if digests(received) != digests(bench.alerts(count)):
            raise CaseFailed("the lines that arrived are not those that were sent")
        return Round(count, seconds, *used, share)


def relp(bench, count):
    tls = 'tls="on" tls.caCert="{ca}" tls.myCert="{cert}" tls.myPrivKey="{key}" tls.authMode="name"'
    sending = {
        "global_tls": "",
        "load": 'module(load="omrelp" tls.tlslib="openssl")',
        "action": f'action(type="omrelp" target="127.0.0.1" port="{{port}}" windowSize="{RELP_WINDOW}" {SEND_LINE} '
        f'{tls} tls.permittedPeer=["{{peer}}"])',
    }
    receiving = {
        "global_tls": "",
        "load": 'module(load="imrelp" tls.tlslib="openssl")',
        "input": f'type="imrelp" address="127.0.0.1" port="{{port}}" {tls} tls.permittedPeer=["{{peer}}"]',
    }
    return rsyslog_round(bench, count, sending, receiving)


def plain(bench, count):
    files = ' DefaultNetstreamDriverCAFile="{ca}" DefaultNetstreamDriverCertFile="{cert}"'
    files = f' DefaultNetstreamDriver="ossl"{files} DefaultNetstreamDriverKeyFile="{{key}}"'
    sending = {
        "global_tls": files,
        "load": "",
        "action": 'action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" TCP_Framing="octet-counted" '
        f'{SEND_LINE} StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="x509/name" '
        'StreamDriverPermittedPeers="{peer}")',
    }
    receiving = {
        "global_tls": files,
        "load": 'module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" '
        'StreamDriver.AuthMode="x509/name" PermittedPeer=["{peer}"])',
        "input": 'type="imtcp" address="127.0.0.1" port="{port}"',
    }
    return rsyslog_round(bench, count, sending, receiving)


def digests(path):
    with open(path, "rb") as lines:
        return sorted(hashlib.sha256(line).digest() for line in lines)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    """Whether somebody listens, without a connection that would be in the log."""
    rows = "".join(pathlib.Path(f"/proc/net/{table}").read_text() for table in ("tcp", "tcp6"))
    return re.search(rf":{port:04X} [0-9A-F]+:0000 0A ", rows) is not None


def size(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


# ---------------------------------------------------------------- memory


def manager_memory(bench, channels):
    """A manager without and with idle channels: rows of (what, octets resident, octets proportional)."""
    with Site(bench, "manager") as site, contextlib.ExitStack() as sockets:
        names = [f"idle-{n}" for n in range(channels)]
        for name in names:
            bench.issue("iap-analyzer", name)
        manager, address = site.manager(*NULL, "--max-per-peer", channels + 1, "--metrics", "127.0.0.1:0")
        metrics, _ = manager.event("listening", time.monotonic() + 20)
        before = manager.memory()
        for name in names:
            sockets.enter_context(idle_channel(bench, address, name))
        time.sleep(2)
        opened = metric(metrics["addr"], "watchfire_iap_channels")
        if opened != channels:
            raise CaseFailed(f"the manager counts {opened:.0f} channels instead of {channels}")
        after = manager.memory()
        each = (after[1] - before[1]) / channels
        rows = [
            ("manager, no sensor connected", *before, ""),
            (f"manager, {channels} sensors connected, idle", *after, f"{each / 1024:.1f} KiB proportional per sensor"),
        ]
    return rows


def idle_channel(bench, address, name):
    """The channel of a sensor of that name to a manager, with one alert delivered, left open."""
    host, port = address.rsplit(":", 1)
    body = f"from {name}".encode()
    tcp = socket.create_connection((host, int(port)), timeout=20)
    try:
        tcp.sendall(b"IAP/0.3 CONNECT %b\r\n\r\n" % MANAGER.encode())
        expect(tcp, b"IAP/0.3 200")
        tcp.sendall(b"IAP/0.3 Upgrade: TLS/1.0\r\n\r\n")
        expect(tcp, b"IAP/0.3 101")
        tls = bench.client_context(name).wrap_socket(tcp, server_hostname=MANAGER)
        tls.sendall(b"IAP/0.3 IAP-Version: 0.3\r\nIAP-Role: Sender\r\n\r\n")
        expect(tls, b"IAP/0.3 200")
        header = b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n" % (OPAQUE.encode(), len(body))
        tls.sendall(header + body + b"\r\n\r\n")
        expect(tls, b"IAP/0.3 200")
        return tls
    except BaseException:
        tcp.close()
        raise


def expect(wire, wanted):
    """Reads one message, octet by octet so that nothing of the next is taken along."""
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        octet = wire.recv(1)
        if not octet:
            break
        got += octet
    if not got.startswith(wanted):
        raise CaseFailed(f"the manager answered {got[:80]!r} instead of {wanted!r}")


def metric(address, name):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+]+)$", text, re.M)
    return float(found.group(1)) if found else 0.0


def sensor_memory(bench, octets):
    """A sensor that fills its spool because there is no manager: rows as of `manager_memory`."""
    with Site(bench, "sensor") as site:
        source = site.dir / "alerts"
        write_alerts(source, octets // OCTETS + 1000)
        # A port that nobody listens on: taken and given back.
        sensor = site.sensor(
            f"127.0.0.1:{free_port()}",
            *("--input", source, "--spool", site.dir / "spool", "--spool-max-bytes", "2G"),
            *("--metrics", "127.0.0.1:0"),
        )
        metrics, _ = sensor.event("listening", time.monotonic() + 20)
        before, most = sensor.memory(), (0, 0)
        deadline = time.monotonic() + bench.patience(octets // OCTETS)
        while (spooled := metric(metrics["addr"], "watchfire_spool_octets")) < octets:
            most = max(most, sensor.memory())
            if sensor.poll() or time.monotonic() > deadline:
                raise CaseFailed(f"the spool holds {spooled:.0f} of {octets} octets; {sensor.last_words()}")
            time.sleep(0.1)
        seconds = time.monotonic() - sensor.began
        time.sleep(2)
        most, after = max(most, sensor.memory()), sensor.memory()
        alerts = metric(metrics["addr"], "watchfire_spool_alerts")
        disk = sum(path.stat().st_blocks * 512 for path in (site.dir / "spool").rglob("*"))
        filled = f"{spooled / 2**20:.0f} MiB in {alerts:.0f} alerts, {disk / 2**20:.0f} MiB of disk, in {seconds:.1f} s"
        peak = kib(pathlib.Path(f"/proc/{sensor.process.pid}/status").read_text(), "VmHWM")
        sampled = f"sampled every 0.1 s; the kernel saw at most {peak / 2**20:.1f} MiB resident"
        return [
            ("sensor, at its start", *before, ""),
            ("sensor, most while the spool fills", *most, sampled),
            ("sensor, spool full, manager away", *after, filled),
        ]


# ---------------------------------------------------------------- the bench


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


# name: (what, whether each alert is acknowledged, where the receiver has it then, how to run a round)
RATES = {
    "opaque": ("watchfire, opaque bodies", "yes", "nowhere (/dev/null)", opaque),
    "idmef": ("watchfire, IDMEF parsed and validated", "yes", "nowhere (/dev/null)", idmef),
    "file": ("watchfire, opaque bodies", "yes", "file, not synced", file),
    "durable": ("watchfire, IDMEF, spool and store on disk, synced", "yes", "SQLite, synced", durable),
    "relp": (f"rsyslog RELP, window {RELP_WINDOW}", "yes", "file, not synced", relp),
    "plain": ("rsyslog, octet-counted TLS", "no", "file, not synced", plain),
}
CASES = [*RATES, "memory"]


def rate_rows(bench, names, arguments):
    """Runs the rounds, the cases of a round one after the other, so that a noisy minute hits all of them."""
    rounds, alone, failures = {name: [] for name in names}, {}, {}
    for turn in range(arguments.rounds):
        for name in names:
            if name in failures:
                continue
            run = RATES[name][3]
            try:
                if turn == 0:
                    # What starting, connecting and ending cost.
                    alone[name] = run(bench, 1).seconds
                got = run(bench, arguments.alerts)
                rounds[name].append(got)
                progress(f"round {turn + 1}, {name}: {got.rate:,.0f} alerts/s")
            except (CaseFailed, OSError, sqlite3.Error) as failure:
                failures[name] = failure
                progress(f"round {turn + 1}, {name}: {failure}")
    rows = []
    for name in names:
        what, acknowledged, where, _ = RATES[name]
        start = f"| `{name}` | {what} | {acknowledged} | {where} |"
        if name in failures:
            rows.append(f"{start} did not run: {escape(failures[name])} | | | | |")
            continue
        got = rounds[name]
        median = lambda of: statistics.median(of(one) for one in got)
        each = ", ".join(f"{one.rate / 1000:.1f}" for one in got)
        rows.append(
            f"{start} **{median(lambda r: r.rate) / 1000:.1f}** ({each}) | {alone[name]:.2f} | {median(lambda r: r.sender):.1f} "
            f"| {median(lambda r: r.receiver):.1f} | {max(r.foreign for r in got):.0%} |"
        )
    return rows, failures


def memory_rows(bench, arguments):
    rows, failed = [], False
    for case, amount in ((manager_memory, arguments.channels), (sensor_memory, arguments.spool_octets)):
        try:
            for what, resident, proportional, note in case(bench, amount):
                rows.append(f"| {what} | {resident / 2**20:.1f} | {proportional / 2**20:.1f} | {note} |")
                progress(rows[-1].strip("| "))
        except (CaseFailed, OSError) as failure:
            rows.append(f"| {case.__name__.replace('_', ' ')} | | | did not run: {escape(failure)} |")
            progress(rows[-1].strip("| "))
            failed = True
    return rows, failed


def escape(failure):
    return str(failure).replace("|", "\\|").replace("\n", " ")


def progress(text):
    print(text, file=sys.stderr, flush=True)


# ---------------------------------------------------------------- what it ran on


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.strip().splitlines()[0].strip()
    except (OSError, subprocess.SubprocessError, IndexError):
        return f"{command[0]}: not there"


def file_system(path):
    """Type and device of the mount that has the path."""
    mounts = [line.split() for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    inside = [m for m in mounts if path == pathlib.Path(m[1]) or pathlib.Path(m[1]) in path.parents]
    found = max(inside, key=lambda mount: len(mount[1]))
    return f"{found[2]} on {found[0]}"


def sync_milliseconds(folder):
    """Median of 100 times 4 KiB appended and forced to the disk."""
    took = []
    with open(folder / "sync", "wb", buffering=0) as probe:
        for _ in range(100):
            probe.write(b"\0" * 4096)
            began = time.monotonic()
            os.fdatasync(probe.fileno())
            took.append(time.monotonic() - began)
    return statistics.median(took) * 1000


def header(bench):
    cpu = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    debian = first_line("dpkg-query", "-W", "-f", "${Version}", "rsyslog")
    rsyslog = first_line(shutil.which("rsyslogd", path=bench.path) or "rsyslogd", "-v").split(" compiled")[0]
    openssl = first_line("openssl", "version").split(" (")[0]
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return "\n".join(
        (
            f"{datetime.date.today()}. {first_line(bench.watchfire, '--version')}, {first_line('rustc', '--version')}. "
            f"Peers: {rsyslog} (package {debian}), {openssl}.",
            f"{cpu.group(1) if cpu else 'CPU unknown'}, {os.cpu_count()} CPUs, {os.uname().sysname} "
            f"{os.uname().release}; load average at the start {load}.",
            f"Files on {file_system(bench.dir)}, where 4 KiB appended and forced to the disk take "
            f"{sync_milliseconds(bench.dir):.2f} ms (median of 100).",
        )
    )


# ---------------------------------------------------------------- the command


def arguments_given():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--watchfire", metavar="PATH", default=ROOT / "target" / "release" / "watchfire", help="the program [release]")
    add("--alerts", metavar="N", type=int, default=300_000, help="alerts in a round [300000]")
    add("--rounds", metavar="R", type=int, default=3, help="rounds of each case [3]")
    add("--only", metavar="CASE,..", default=",".join(CASES), help=f"of {', '.join(CASES)} [all]")
    add("--channels", metavar="N", type=int, default=200, help="idle sensors of the case memory [200]")
    add("--spool-octets", metavar="N", type=int, default=2**30, help="spooled in the case memory [1 GiB]")
    add("--dir", metavar="DIR", type=pathlib.Path, help="where the temporary folder goes [the system's]")
    add("--write", action="store_true", help="put the table into benches/README.md")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    if unknown := set(arguments.only) - set(CASES):
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    if min(arguments.alerts, arguments.rounds, arguments.channels, arguments.spool_octets) < 1:
        parser.error("counts start at 1")
    if not shutil.which(arguments.watchfire):
        parser.error(f"no program {arguments.watchfire}; make it with: cargo build --release -p watchfire")
    if arguments.write and not (README.is_file() and BEGIN in README.read_text() and END in README.read_text()):
        parser.error(f"{README} lacks the lines {BEGIN} and {END}")
    arguments.watchfire = pathlib.Path(shutil.which(arguments.watchfire)).resolve()
    return arguments


def main():
    # An end by signal also runs the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = arguments_given()
    with tempfile.TemporaryDirectory(prefix="watchfire-rates-", dir=arguments.dir) as folder:
        bench = Bench(arguments, pathlib.Path(folder).resolve())
        parts, failed = [header(bench)], False
        if names := [name for name in RATES if name in arguments.only]:
            rows, failures = rate_rows(bench, names, arguments)
            failed |= bool(failures)
            title = "| case | sender to receiver | acknowledged | kept | thousand alerts/s, median (all rounds) "
            title += "| one alert alone, s | sender, CPU µs/alert | receiver, CPU µs/alert | CPU taken by others, at most |"
            parts.append(
                f"{arguments.alerts:,} alerts of {OCTETS} octets in each of {arguments.rounds} rounds; watchfire's window "
                f"is {WINDOW}."
            )
            parts.append("\n".join((title, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |", *rows)))
        if "memory" in arguments.only:
            rows, broken = memory_rows(bench, arguments)
            failed |= broken
            title = "| memory | resident, MiB | proportional, MiB | |"
            parts.append("\n".join((title, "| --- | --- | --- | --- |", *rows)))
    table = "\n\n".join(parts)
    print(table)
    if arguments.write:
        before, rest = README.read_text().split(BEGIN, 1)
        README.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END, 1)[1]}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
