#!/usr/bin/env python3
"""A Call Home server of Watchfire beside libcoap's coap-server, in one run, on one core each, over loopback: mitigation
requests (PUT) on one session, with the same load generator.

python3 benches/dots/rates.py [--target DIR] [--requests N] [--rounds R] [--only CASE,..] [--write]

Prints a table; --write also puts it between the two markers in benches/README.md. What the columns mean is said there.
Exit code 0 when every case ran, 1 when one did not, 2 for bad usage.
"""
import json
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

# Nothing is left beside the sources.
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from common import machine  # noqa: E402
from common.arguments import Arguments  # noqa: E402
from common.net import listens  # noqa: E402
from common.processes import CaseFailed, Folder, Foreign, children_cpu, tool  # noqa: E402
from common.readme import Place, escape  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = Place("dots/rates.py")
# Server and loader have a core each.
SERVER, LOADER = ("taskset", "-c", "0"), ("taskset", "-c", "1")


class Round:
    """What one round gave: requests a second, CPU of the server for each, time to the answer, CPU of others."""

    def __init__(self, said, cpu, foreign):
        self.rate, self.cpu = said["answered"] / said["seconds"], cpu / said["answered"] * 1e6
        self.p50, self.p99, self.foreign = said["p50"], said["p99"], foreign


def finished(child, server, patience):
    """The loader's last word, and what the server used meanwhile."""
    foreign, used, before = Foreign(), server.cpu(), children_cpu()
    said, _ = child.event("done", time.monotonic() + patience)
    cpu = server.cpu() - used
    loader = child.cpu() if not child.poll() else 0
    share = foreign.share(cpu + loader + children_cpu() - before)
    # The first tenth is not timed, but used CPU as well.
    return Round(said, cpu / 1.1, share)


def ours(bench, carrier, window):
    """The loader listens, and the server calls it: Call Home."""
    with Folder(bench, "ours") as folder:
        words = ("load", carrier, bench.dir, 0, bench.arguments.requests, window)
        loader = folder.start("loader", *LOADER, bench.program, *words)
        listening, _ = loader.event("listening", time.monotonic() + 20)
        server = folder.start("server", *SERVER, bench.program, "serve", carrier, bench.dir, listening["port"])
        server.event("up", time.monotonic() + 20)
        return finished(loader, server, 120)


def free_pair():
    """Two ports in a row, which coap-server wants, free for TCP and UDP."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port < 65535 and not any(listens(one) for one in (port, port + 1)):
            return port
    raise CaseFailed("no two free ports in a row")


def libcoap(flavour):
    def run(bench, carrier, window):
        """The loader dials, as coap-server knows no other way."""
        with Folder(bench, "libcoap") as folder:
            port = free_pair()
            files = ("-c", bench.dir / "home.example.pem", "-j", bench.dir / "home.example.key", "-C", bench.dir / "ca.pem")
            words = ("-A", "127.0.0.1", "-p", port, "-d", 100, "-v", 1, *files)
            server = folder.start("server", *SERVER, tool(f"coap-server-{flavour}"), *words)
            deadline = time.monotonic() + 20
            while not listens(port + 1):
                if server.poll() or time.monotonic() > deadline:
                    raise CaseFailed(f"coap-server does not listen; {server.last_words()}")
                time.sleep(0.02)
            words = ("load", carrier, bench.dir, port + 1, bench.arguments.requests, window)
            return finished(folder.start("loader", *LOADER, bench.program, *words), server, 120)

    return run


# name: (what, how a round is run, carrier, requests under way)
CASES = {
    f"{carrier}-{window}{suffix}": (f"{who}, {kind}, {window} under way", run, carrier, window)
    for carrier, kind in (("tls", "TLS 1.3"), ("dtls", "DTLS 1.2"))
    for window in (1, 6)
    for suffix, who, run in (
        ("", "watchfire", ours),
        ("-openssl", "libcoap with OpenSSL", libcoap("openssl")),
        ("-gnutls", "libcoap with GnuTLS", libcoap("gnutls")),
    )
}


class Bench:
    """What all cases share."""

    def __init__(self, arguments, folder):
        self.arguments, self.dir, self.program = arguments, folder, arguments.program
        subprocess.run([self.program, "certificates", folder], check=True)


def rows_of(bench):
    """Runs the rounds, the cases of a round one after the other, so that a noisy minute hits all of them."""
    names = [name for name in CASES if name in bench.arguments.only]
    rounds, failures = {name: [] for name in names}, {}
    for turn in range(bench.arguments.rounds):
        for name in names:
            if name in failures:
                continue
            _, run, carrier, window = CASES[name]
            try:
                got = run(bench, carrier, window)
                rounds[name].append(got)
                print(f"round {turn + 1}, {name}: {got.rate:,.0f}/s, {got.cpu:.1f} µs", file=sys.stderr, flush=True)
            except (CaseFailed, OSError, subprocess.SubprocessError) as failure:
                failures[name] = failure
                print(f"round {turn + 1}, {name}: {failure}", file=sys.stderr, flush=True)
    rows = []
    for name in names:
        start = f"| `{name}` | {CASES[name][0]} |"
        if name in failures:
            rows.append(f"{start} did not run: {escape(failures[name])} | | | | |")
            continue
        got = rounds[name]
        each = ", ".join(f"{one.rate / 1000:.1f}" for one in got)
        median = {of: statistics.median(getattr(one, of) for one in got) for of in ("rate", "cpu", "p50", "p99")}
        others = max(one.foreign for one in got)
        rows.append(
            f"{start} **{median['rate'] / 1000:.1f}** ({each}) | {median['cpu']:.1f} "
            f"| {median['p50']:.0f} | {median['p99']:.0f} | {others:.0%} |"
        )
    return rows, failures


def executable(target):
    """The program that cargo has made for this."""
    words = ["cargo", "bench", "-p", "watchfire-benches", "--bench", "dots_rates", "--no-run"]
    words += ["--message-format=json"] + (["--target-dir", str(target)] if target else [])
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    made = (json.loads(line) for line in done.stdout.splitlines())
    return next(one["executable"] for one in made if one.get("executable") and one["target"]["name"] == "dots_rates")


def arguments_given():
    arguments = Arguments(__doc__, CASES, TABLE, watchfire=False)
    add = arguments.add
    add("--target", metavar="DIR", type=pathlib.Path, help="cargo's folder for loader and server [cargo's own]")
    add("--program", metavar="PATH", type=pathlib.Path, help="loader and server, when they are made already")
    add("--requests", metavar="N", type=int, default=100_000, help="requests in a round [100000]")
    given = arguments.parse()
    if given.requests < 10:
        arguments.error("there must be 10 requests in a round")
    given.program = given.program or executable(given.target)
    return given


def versions():
    version = lambda package: machine.first_line("dpkg-query", "-W", "-f", "${Version}", package)
    return f"libcoap {version('libcoap3-bin')}, {machine.first_line('rustc', '--version')}"


def main():
    # An end by signal also runs the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = arguments_given()
    with tempfile.TemporaryDirectory(prefix="watchfire-rates-", dir=arguments.dir) as folder:
        head = f"{time.strftime('%Y-%m-%d')}, {versions()}.\n{machine.what_it_is()}"
        rows, failures = rows_of(Bench(arguments, pathlib.Path(folder).resolve()))
    title = "| case | what answers | thousand requests/s, median (all rounds) | server, CPU µs/request "
    title += "| answer after µs, median | 99 % | CPU of others, at most |"
    table = f"{head}\n\n" + "\n".join((title, "| --- | --- | --- | --- | --- | --- | --- |", *rows))
    print(table)
    if arguments.write:
        TABLE.put(table)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
