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


def what_it_is():
    """Processor, system and load, in one line."""
    cpu = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return (
        f"{cpu.group(1) if cpu else 'CPU unknown'}, {os.cpu_count()} CPUs, {os.uname().sysname} "
        f"{os.uname().release}; load average at the start {load}."
    )


def ours(watchfire):
    """The day, and the versions of the program and its compiler."""
    return f"{datetime.date.today()}. {first_line(watchfire, '--version')}, {first_line('rustc', '--version')}."
