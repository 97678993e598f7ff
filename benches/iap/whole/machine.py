"""What it ran on."""
import datetime
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import time


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
