#!/usr/bin/env python3
"""Watchfire's laboratory CA beside Pebble, in one run with the same load, over TLS on the loopback.

python3 benches/lurk/rates.py [--watchfire PATH] [--load PATH] [--requests N] [--rounds R] [--only CASE,..] [--write]

Prints a table; --write also puts it between the two markers in benches/README.md. What the columns mean is said there.
Exit code 0 when every case ran, 1 when one did not, 2 for bad usage.
"""
import argparse
import json
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

# Nothing is left beside the sources.
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from common import machine  # noqa: E402
from common.net import free_port, listens  # noqa: E402
from common.processes import CaseFailed, Folder, Foreign, children_cpu, tool  # noqa: E402
from common.readme import Place, escape  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = Place("lurk/rates.py")
# Server and load have a core each.
SERVER, LOADER = ("taskset", "-c", "0"), ("taskset", "-c", "1")
CONNECTIONS = 4


def watchfire(*flags):
    def start(bench, folder):
        """The process, its directory, its anchor."""
        words = ("lurk", "ca", "--json", "--listen", "127.0.0.1:0", "--dir", folder.dir / "ca", *flags)
        child = folder.start("ca", *SERVER, "env", "RUST_LOG=error", bench.watchfire, *words)
        listening, _ = child.event("listening", time.monotonic() + 20)
        return child, listening["directory"], folder.dir / "ca" / "ca.pem"

    return start


def in_memory(bench, folder):
    (folder.dir / "ca").mkdir()
    child = folder.start("memory", *SERVER, bench.memory, folder.dir / "ca")
    listening, _ = child.event("listening", time.monotonic() + 20)
    return child, listening["directory"], folder.dir / "ca" / "ca.pem"


def pebble(bench, folder):
    """Without the waits and the refusals that it makes up for its users, and without a log."""
    port, management = free_port(), free_port()
    config = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(bench.dir / "localhost.pem"),
        "privateKey": str(bench.dir / "localhost.key"),
        "httpPort": 5002,
        "tlsPort": 5001,
    }
    (folder.dir / "pebble.json").write_text(json.dumps({"pebble": config}))
    calm = ("PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0")
    silent = ("sh", "-c", 'exec "$0" "$@" > /dev/null')
    child = folder.start(
        "pebble", *SERVER, "env", *calm, *silent, tool("pebble"), "-config", folder.dir / "pebble.json"
    )
    deadline = time.monotonic() + 20
    while not listens(port):
        if child.poll() or time.monotonic() > deadline:
            raise CaseFailed(f"Pebble does not listen; {child.last_words()}")
        time.sleep(0.02)
    return child, f"https://127.0.0.1:{port}/dir", bench.dir / "ca.pem"


TRUSTING = watchfire("--trust-identifiers")
# name: (what, how the server starts, what is asked)
CASES = {
    "new-order": ("watchfire, signed newOrder, in memory", in_memory, "new-order"),
    "new-order-disk": ("watchfire, signed newOrder, kept on the disk", watchfire(), "new-order"),
    "new-order-pebble": ("Pebble, signed newOrder", pebble, "new-order"),
    "post-as-get": ("watchfire, POST-as-GET of an order, in memory", in_memory, "post-as-get"),
    "post-as-get-disk": ("watchfire, POST-as-GET of an order that is on the disk", watchfire(), "post-as-get"),
    "post-as-get-pebble": ("Pebble, POST-as-GET of an order", pebble, "post-as-get"),
    "star-get": ("watchfire, GET of a STAR certificate", TRUSTING, "star-get"),
    "star-304": ("watchfire, the same with If-None-Match: 304", TRUSTING, "star-304"),
}


class Round:
    """What one round has given."""

    def __init__(self, said, cpu, foreign):
        self.rate, self.cpu = said["answered"] / said["seconds"], cpu / said["answered"] * 1e6
        self.p50, self.p99, self.foreign = said["p50"], said["p99"], foreign


def one_round(bench, name):
    _, start, asked = CASES[name]
    with Folder(bench, name) as folder:
        server, directory, anchor = start(bench, folder)
        words = (bench.load, asked, directory, anchor, bench.arguments.requests, CONNECTIONS)
        process = subprocess.Popen(
            [str(word) for word in (*LOADER, *words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            warm = process.stdout.readline()
            if '"warm"' not in warm:
                raise CaseFailed(f"the load has failed: {process.communicate(timeout=20)[1].strip()[-300:]}")
            foreign, used, before = Foreign(), server.cpu(), children_cpu()
            process.stdin.write("\n")
            process.stdin.flush()
            line = process.stdout.readline()
            cpu = server.cpu() - used
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0 or '"done"' not in line:
            raise CaseFailed(f"the load has failed: {errors.strip()[-300:]}")
        return Round(json.loads(line), cpu, foreign.share(cpu + children_cpu() - before))


class Bench:
    """What all cases share."""

    def __init__(self, arguments, folder):
        self.arguments, self.dir = arguments, folder
        self.watchfire, self.load, self.memory = arguments.watchfire, arguments.load, arguments.memory
        pki = lambda *words: subprocess.run([self.watchfire, "pki", *words], check=True, capture_output=True)
        pki("init", "--dir", folder)
        pki("issue", "--dir", folder, "--profile", "tls-server", "--name", "localhost", "--san", "IP:127.0.0.1")


def rows_of(bench):
    """Runs the rounds, the cases of a round one after the other, so that a noisy minute hits all of them."""
    names = [name for name in CASES if name in bench.arguments.only]
    rounds, failures = {name: [] for name in names}, {}
    for turn in range(bench.arguments.rounds):
        for name in names:
            if name in failures:
                continue
            try:
                got = one_round(bench, name)
                rounds[name].append(got)
                print(f"round {turn + 1}, {name}: {got.rate:,.0f}/s, {got.cpu:.1f} µs", file=sys.stderr, flush=True)
            except (CaseFailed, OSError, subprocess.SubprocessError) as failure:
                failures[name] = failure
                print(f"round {turn + 1}, {name}: {failure}", file=sys.stderr, flush=True)
    rows = []
    for name in names:
        start = f"| `{name}` | {CASES[name][0]} |"
        if name in failures:
            rows.append(f"{start} did not run: {escape(failures[name])} | | | | | |")
            continue
        got = rounds[name]
        median = {of: statistics.median(getattr(one, of) for one in got) for of in ("rate", "cpu", "p50", "p99")}
        rows.append(
            f"{start} **{median['cpu']:.0f}** | {min(r.cpu for r in got):.0f} to {max(r.cpu for r in got):.0f} "
            f"| {median['rate'] / 1000:.1f} | {median['p50']:.0f} | {median['p99']:.0f} "
            f"| {max(r.foreign for r in got):.0%} |"
        )
    return rows, failures


def executable(name, target):
    """A program of this folder that cargo has made."""
    words = ["cargo", "bench", "-p", "watchfire-benches", "--bench", name, "--no-run"]
    words += ["--message-format=json"] + (["--target-dir", str(target)] if target else [])
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    made = (json.loads(line) for line in done.stdout.splitlines())
    return next(one["executable"] for one in made if one.get("executable") and one["target"]["name"] == name)


def arguments_given():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--watchfire", metavar="PATH", default=ROOT / "target" / "release" / "watchfire", help="the program [release]")
    add("--load", metavar="PATH", type=pathlib.Path, help="the load, when it is made already")
    add("--memory", metavar="PATH", type=pathlib.Path, help="the CA without a disk, when it is made already")
    add("--target", metavar="DIR", type=pathlib.Path, help="cargo's folder for these two [cargo's own]")
    add("--requests", metavar="N", type=int, default=8_000, help="requests in a round [8000]")
    add("--rounds", metavar="R", type=int, default=3, help="rounds of each case [3]")
    add("--only", metavar="CASE,..", default=",".join(CASES), help=f"of {', '.join(CASES)} [all]")
    add("--dir", metavar="DIR", type=pathlib.Path, help="where the temporary folder goes [the system's]")
    add("--write", action="store_true", help="put the table into benches/README.md")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",")
    if unknown := set(arguments.only) - set(CASES):
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    if arguments.rounds < 1 or arguments.requests < 10 * CONNECTIONS:
        parser.error(f"there must be a round, and {10 * CONNECTIONS} requests in it")
    if not shutil.which(arguments.watchfire):
        parser.error(f"no program {arguments.watchfire}; make it with: cargo build --release -p watchfire")
    if arguments.write and (missing := TABLE.missing()):
        parser.error(missing)
    arguments.watchfire = pathlib.Path(shutil.which(arguments.watchfire)).resolve()
    arguments.load = arguments.load or executable("lurk_load", arguments.target)
    arguments.memory = arguments.memory or executable("lurk_memory", arguments.target)
    return arguments


def main():
    # An end by signal also runs the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = arguments_given()
    with tempfile.TemporaryDirectory(prefix="watchfire-rates-", dir=arguments.dir) as folder:
        version = machine.first_line("dpkg-query", "-W", "-f", "${Version}", "pebble")
        head = f"{machine.ours(arguments.watchfire)} Pebble {version}.\n{machine.what_it_is()}"
        rows, failures = rows_of(Bench(arguments, pathlib.Path(folder).resolve()))
    title = "| case | what | server, CPU µs/request, median | lowest and highest round | thousand requests/s "
    title += "| answer after µs, median | 99 % | CPU of others, at most |"
    table = "\n".join([head, "", title, "| --- | --- " + "| ---: " * 6 + "|", *rows])
    print(table)
    if arguments.write:
        TABLE.put(table)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
