"""Rates of two rsyslogd, one sending and one receiving."""
import hashlib
import pathlib
import re
import shutil
import socket
import time

from common.net import free_port, listens
from common.processes import CaseFailed, Foreign

from .alerts import OCTETS
from .bench import RECEIVER, SENDER
from .processes import Round, Site

RELP_WINDOW = 2000

# Queues are roomier and batches larger than rsyslog's defaults, so that they do not hold it back.
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


def size(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
