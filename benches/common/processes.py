"""Processes, what they say and what they use; none is left behind."""
import json
import os
import pathlib
import queue
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time

class CaseFailed(Exception):
    """A case that gave no number, and why."""


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

    def cpu(self):
        """CPU seconds used so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """Resident and proportional set size, in octets."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        rollup = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return kib(status, "VmRSS"), kib(rollup, "Pss")


def tool(name):
    """A program, also where Debian hides it from users."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not found:
        raise CaseFailed(f"{name} is not installed")
    return found


def output(*command):
    """What a program writes, which must end well."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise CaseFailed(f"{' '.join(words)[:100]} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def children_cpu():
    """CPU seconds of this program and of those it has waited for."""
    usage, own = resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime + own.ru_utime + own.ru_stime


def kib(text, name):
    return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M).group(1)) * 1024


class Folder:
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
