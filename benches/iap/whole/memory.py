"""What a manager with idle sensors takes, and a sensor with a long spool."""
import contextlib
import re
import socket
import time
import urllib.request

from common.net import free_port
from common.processes import CaseFailed

from .alerts import OCTETS, OPAQUE, write_alerts
from .bench import MANAGER
from .processes import Site
from .watchfire import NULL


def manager_memory(bench, channels):
    """A manager without and with idle channels: rows of (what, octets resident, octets proportional)."""
    with Site(bench, "manager") as site, contextlib.ExitStack() as sockets:
        names = [f"idle-{n}" for n in range(channels)]
        for name in names:
            bench.issue("iap-analyzer", name)
        manager, address = site.manager(*NULL, "--max-per-address", channels + 1, "--metrics", "127.0.0.1:0")
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
        return [
            ("sensor, at its start", *before, ""),
            ("sensor, most while the spool fills", *most, "sampled every 0.1 s"),
            ("sensor, spool full, manager away", *after, filled),
        ]
