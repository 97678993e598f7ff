#!/usr/bin/env python3
"""Watchfire's DNSBL beside rbldnsd and its rater beside nginx, in one run, each with a million entries, over loopback.

python3 benches/repute/rates.py [--watchfire PATH] [--entries N] [--rounds R] [--only CASE,..] [--write]

Prints tables; --write also puts them between the two markers in benches/README.md. What the columns mean is said there.
Exit code 0 when every case ran, 1 when one did not, 2 for bad usage.
"""
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

# Nothing is left beside the sources.
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from common import machine  # noqa: E402
from common.arguments import Arguments  # noqa: E402
from common.net import free_port  # noqa: E402
from common.processes import CaseFailed, Folder, Foreign, children_cpu, kib, output, tool  # noqa: E402
from common.readme import Place, escape  # noqa: E402

TABLE = Place("repute/rates.py")
# Server and loader have a core each; while entries are read, the server has all.
SERVER, LOADER = "0", ("taskset", "-c", "1")
ADDRESSES, NAMES = "addresses.example", "names.example"
ASKED = 100_000
PATIENCE = 60


class Data:
    """Entries, half addresses and half names, as each program reads them; and questions, every other one of them about
    an entry."""

    def __init__(self, folder, count):
        self.dir, chance = folder, random.Random(7071)
        address = lambda: ".".join(str(chance.randrange(256)) for _ in range(3)) + f".{chance.randrange(1, 255)}"
        letters = lambda: "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randrange(6, 16)))
        name = lambda: f"{letters()}.{chance.choice(('com', 'net', 'org', 'info', 'example'))}"
        # 127.0.0.0/8 has the test entries.
        self.addresses = list({a for a in (address() for _ in range(count // 2)) if not a.startswith("127.")})
        self.names = list({name() for _ in range(count // 2)})
        chance.shuffle(self.addresses)
        self.entries = len(self.addresses) + len(self.names)
        (folder / "addresses").write_text("\n".join(self.addresses) + "\n")
        (folder / "names").write_text("\n".join(self.names) + "\n")
        line = (
            '{{"application":"email-id","assertion":"spam","rated":"{}","rating":0.{},"confidence":0.95,'
            '"sample-size":{},"generated":{},"email-id-identity":"dkim"}}\n'
        )
        self.ndjson = folder / "entries.ndjson"
        with open(self.ndjson, "w", encoding="ascii") as out:
            for rated in self.addresses + self.names:
                rating, samples = chance.randrange(500, 1000), chance.randrange(10_000_000)
                out.write(line.format(rated, rating, samples, 1_300_000_000 + chance.randrange(100_000_000)))
        backwards = lambda a: ".".join(reversed(a.split(".")))
        self._questions("addresses", ADDRESSES, map(backwards, self.addresses), lambda: backwards(address()), chance)
        self._questions("names", NAMES, self.names, name, chance)
        self.known = f"{self.names[0]}.{NAMES}"

    def _questions(self, kind, zone, known, other, chance):
        asked = chance.sample(list(known), min(ASKED // 2, self.entries // 4))
        lines = [f"{name}.{zone} A\n" for known in asked for name in (known, other())]
        (self.dir / f"ask-{kind}").write_text("".join(lines))


class Bench:
    """What all cases share."""

    def __init__(self, arguments, folder):
        self.arguments, self.dir, self.watchfire = arguments, folder, arguments.watchfire
        # rbldnsd reads as somebody else.
        folder.chmod(0o755)
        self.data = Data(folder, arguments.entries)
        # Rows by case: (what it is, list of numbers).
        self.rounds, self.starts, self.reloads = {}, {}, {}

    def note(self, table, case, got):
        table.setdefault(case, []).append(got)
        print(f"{case}: {', '.join(f'{value:,.2f}' for value in got)}", file=sys.stderr, flush=True)


def question(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\x07\x07\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"


def first_answer(child, port, name):
    """When the list has answered that the name is listed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(0.005)
        asker.connect(("127.0.0.1", port))
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                asker.send(question(name))
                if asker.recv(512)[6:8] == b"\0\1":
                    return time.monotonic()
            except ConnectionRefusedError:
                time.sleep(0.005)
            except TimeoutError:
                pass
            if child.poll():
                break
        raise CaseFailed(f"no answer; {child.last_words()}")


def watchfire(bench, folder, environment=()):
    words = ("repute", "dnsbl", "--json", "--listen", "127.0.0.1:0", "--store", bench.data.ndjson)
    program = (*environment, bench.watchfire)
    child = folder.start("dnsbl", *program, *words, "--zone", ADDRESSES, "--zone", NAMES)
    listening, _ = child.event("listening", time.monotonic() + PATIENCE)
    return child, int(listening["addr"].rsplit(":", 1)[1])


def rbldnsd(bench, folder):
    port = free_port()
    words = ("-n", "-b", f"127.0.0.1/{port}", "-w", bench.data.dir)
    user = ("-u", "nobody") if os.getuid() == 0 else ()
    zones = (f"{ADDRESSES}:ip4set:addresses", f"{NAMES}:dnset:names")
    return folder.start("rbldnsd", tool("rbldnsd"), *user, *words, *zones), port


def giving_back(bench, folder):
    """The C library gives large pieces of memory back as long as it is told which are large."""
    return watchfire(bench, folder, ("env", GIVING_BACK))


GIVING_BACK = "MALLOC_MMAP_THRESHOLD_=262144"
LISTS = {"dnsbl": watchfire, f"dnsbl, {GIVING_BACK}": giving_back, "rbldnsd": rbldnsd}


def started(bench, folder, case):
    """A list that answers: the process, its port, and seconds until then."""
    child, port = LISTS[case](bench, folder)
    return child, port, first_answer(child, port, bench.data.known) - child.began


def peak(child):
    return kib(pathlib.Path(f"/proc/{child.process.pid}/status").read_text(), "VmHWM")


def pin(child):
    output("taskset", "-acp", SERVER, child.process.pid)


def dnsperf(bench, port, kind, *more):
    """Answered and lost questions, seconds."""
    words = ("-s", "127.0.0.1", "-p", port, "-d", bench.data.dir / f"ask-{kind}", "-T", 1, "-c", 4, "-q", 200, "-t", 2)
    said = output(*LOADER, tool("dnsperf"), *words, *more)
    number = lambda what: int(re.search(rf"{what}:?\s+(\d+)", said).group(1))
    answered = number("Queries completed")
    if not 0.48 < number("NOERROR") / answered < 0.52 or not 0.48 < number("NXDOMAIN") / answered < 0.52:
        raise CaseFailed(f"not every other one was listed: {re.search('Response codes.*', said).group(0)}")
    return answered, number("Queries lost"), answered / float(re.search(r"per second:\s+([\d.]+)", said).group(1))


def measured(bench, case, child, load):
    """Runs a load: thousand answers a second, CPU µs of the server for each, lost ones, the share of others."""
    foreign, used, before = Foreign(), child.cpu(), children_cpu()
    answered, lost, seconds = load()
    cpu = child.cpu() - used
    share = foreign.share(cpu + children_cpu() - before)
    bench.note(bench.rounds, case, (answered / seconds / 1000, cpu / answered * 1e6, lost, share))


def a_list(bench, case):
    with Folder(bench, case) as folder:
        child, port, seconds = started(bench, folder, case)
        bench.note(bench.starts, case, (seconds, child.cpu(), child.memory()[0] / 1e6))
        pin(child)
        for kind in ("addresses", "names"):
            passes = max(1, bench.arguments.queries // ASKED)
            measured(bench, f"{case}, {kind}", child, lambda: dnsperf(bench, port, kind, "-n", passes))


def reload(bench, case):
    """Asks while the entries are read anew, three times."""
    with Folder(bench, case) as folder:
        child, port, _ = started(bench, folder, case)
        fresh = bench.data.dir / "fresh"

        def change():
            for _ in range(3):
                time.sleep(1.5)
                for name in ("entries.ndjson",) if case != "rbldnsd" else ("addresses", "names"):
                    shutil.copy(bench.data.dir / name, fresh)
                    os.replace(fresh, bench.data.dir / name)
                child.process.send_signal(signal.SIGHUP)

        changing = threading.Thread(target=change)
        changing.start()
        answered, lost, _ = dnsperf(bench, port, "addresses", "-n", 1000, "-l", 9)
        changing.join()
        bench.note(bench.reloads, case, (answered, lost, child.memory()[0] / 1e6, peak(child) / 1e6))


def wrk(bench, case, child, port):
    script = bench.dir / "ask.lua"
    names = ",".join(f'"{name}"' for name in bench.data.names[:20_000])
    script.write_text(
        f"local names, at = {{{names}}}, 0\n"
        "function request() at = at % #names + 1 "
        'return wrk.format("GET", "/email-id/" .. names[at] .. "/spam") end\n'
    )

    def load():
        said = output(*LOADER, tool("wrk"), "-t", 1, "-c", 16, "-d", "5s", "-s", script, f"http://127.0.0.1:{port}")
        if "Non-2xx" in said or "Socket errors" in said:
            raise CaseFailed(f"not all were answered: {said[-300:]}")
        return int(re.search(r"(\d+) requests in", said).group(1)), 0, float(
            re.search(r"requests in ([\d.]+)s", said).group(1)
        )

    measured(bench, case, child, load)


def rater(bench, folder):
    words = ("repute", "serve", "--json", "--listen", "127.0.0.1:0", "--data", bench.data.ndjson)
    child = folder.start("serve", bench.watchfire, *words)
    listening, _ = child.event("listening", time.monotonic() + PATIENCE)
    return child, int(listening["addr"].rsplit(":", 1)[1])


def serve(bench, case):
    with Folder(bench, case) as folder:
        child, port = rater(bench, folder)
        page(port, bench.data.names[0])
        bench.note(bench.starts, case, (time.monotonic() - child.began, child.cpu(), child.memory()[0] / 1e6))
        pin(child)
        wrk(bench, case, child, port)


def page(port, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/email-id/{name}/spam", timeout=5) as answer:
        return answer.read().decode(), answer.headers


def nginx(bench, case):
    """The answer of our rater about one name, with its fields, from memory."""
    with Folder(bench, case) as folder:
        child, port = rater(bench, folder)
        body, fields = page(port, bench.data.names[0])
        child.kill()
        if "'" in body or "$" in body:
            raise CaseFailed("the body cannot stand in a configuration")
        own = ("date", "content-length", "content-type", "connection", "server")
        more = "".join(f"add_header {name} '{value}'; " for name, value in fields.items() if name.lower() not in own)
        port = free_port()
        config = folder.dir / "nginx.conf"
        config.write_text(
            f"daemon off; master_process off; pid {folder.dir}/pid; error_log {folder.dir}/errors;\n"
            "events { worker_connections 256; }\nhttp { access_log off; keepalive_requests 1000000000;\n"
            f"server {{ listen 127.0.0.1:{port}; location / {{ default_type '{fields['content-type']}'; {more}"
            f"return 200 '{body}'; }} }} }}\n"
        )
        child = folder.start("nginx", tool("nginx"), "-p", folder.dir, "-c", config)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                page(port, "x")
                break
            except OSError:
                if child.poll() or time.monotonic() > deadline:
                    raise CaseFailed(f"nginx does not answer; {child.last_words()}") from None
                time.sleep(0.02)
        pin(child)
        wrk(bench, case, child, port)


CASES = {
    "dnsbl": a_list,
    "rbldnsd": a_list,
    "reload": lambda bench, _: [reload(bench, case) for case in LISTS],
    "serve": serve,
    "nginx": nginx,
}


def rows(rounds, digits):
    """A row for each case: medians, and the rounds of the second column, or of the first."""
    for case, got in rounds.items():
        medians = [statistics.median(column) for column in zip(*got)]
        yield f"| {case} | " + " | ".join(f"{value:,.{places}f}" for value, places in zip(medians, digits)) + " |"


def tables(bench, failures):
    parts = []
    if bench.rounds:
        head = "| answers | thousand/s | server, CPU µs each | lowest and highest round | CPU of others, at most |\n"
        parts.append(head + "| --- | ---: | ---: | ---: | ---: |\n" + "\n".join(
            f"| {case} | {statistics.median(r[0] for r in got):.1f} | **{statistics.median(r[1] for r in got):.2f}** "
            f"| {min(r[1] for r in got):.2f} to {max(r[1] for r in got):.2f} | {max(r[3] for r in got):.0%} |"
            for case, got in bench.rounds.items()
        ))  # fmt: skip
    if bench.starts:
        head = f"| {bench.data.entries:,} entries | seconds until the first answer | CPU s | RSS, MB |\n"
        parts.append(head + "| --- | ---: | ---: | ---: |\n" + "\n".join(rows(bench.starts, (2, 2, 1))))
    if bench.reloads:
        head = "| while they are read anew, three times | answered | lost | RSS then, MB | highest RSS, MB |\n"
        parts.append(head + "| --- | ---: | ---: | ---: | ---: |\n" + "\n".join(rows(bench.reloads, (0, 0, 1, 1))))
    parts += [f"`{case}` did not run: {escape(failure)}" for case, failure in failures.items()]
    return "\n\n".join(parts)


def arguments_given():
    arguments = Arguments(__doc__, CASES, TABLE)
    add = arguments.add
    add("--entries", metavar="N", type=int, default=1_000_000, help="entries, half of them names [1000000]")
    add("--queries", metavar="N", type=int, default=400_000, help="DNS questions of each kind in a round [400000]")
    given = arguments.parse(rounds="rounds of each case; reloads have one [3]", tables="tables")
    if given.queries < 1 or given.entries < 1_000:
        arguments.error("there must be a question, and a thousand entries")
    return given


def main():
    # An end by signal also runs the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = arguments_given()
    failures = {}
    with tempfile.TemporaryDirectory(prefix="watchfire-rates-", dir=arguments.dir) as folder:
        version = lambda package: machine.first_line("dpkg-query", "-W", "-f", "${Version}", package)
        others = ", ".join(f"{name} {version(name)}" for name in ("rbldnsd", "nginx", "dnsperf", "wrk"))
        head = f"{machine.ours(arguments.watchfire)} {others}.\n{machine.what_it_is()}"
        bench = Bench(arguments, pathlib.Path(folder).resolve())
        # The cases of a round one after the other, so that a noisy minute hits all of them.
        for turn in range(arguments.rounds):
            for case in arguments.only:
                if case in failures or (turn and case == "reload"):
                    continue
                try:
                    CASES[case](bench, case)
                except (CaseFailed, OSError, subprocess.SubprocessError) as failure:
                    failures[case] = failure
                    print(f"{case}: {failure}", file=sys.stderr, flush=True)
        table = f"{head}\n\n{tables(bench, failures)}"
    print(table)
    if arguments.write:
        TABLE.put(table)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
