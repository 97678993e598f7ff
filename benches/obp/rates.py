#!/usr/bin/env python3
"""A Watchfire broker beside DNS servers, in one run, on one core each, over loopback: cached questions.

python3 benches/obp/rates.py [--watchfire PATH] [--target DIR] [--rounds R] [--only CASE,..] [--write]

Prints a table; --write also puts it between the two markers in benches/README.md. What the columns mean is said there.
Exit code 0 when every case ran, 1 when one did not, 2 for bad usage.
"""
import base64
import hashlib
import hmac
import json
import pathlib
import re
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
from common.arguments import Arguments  # noqa: E402
from common.net import free_port, listens  # noqa: E402
from common.processes import CaseFailed, Folder, Foreign, children_cpu, output, tool  # noqa: E402
from common.readme import Place, escape  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = Place("obp/rates.py")
# Server and loader have a core each.
SERVER, LOADER = ("taskset", "-c", "0"), ("taskset", "-c", "1")
UNDER_WAY = 100
ZONE = """$ORIGIN example.com.
$TTL 3600
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
www A 192.0.2.1
"""
QUESTION = b'{"QueryConnectRequest":{"Identifier":{"Name":"www.example.com","Service":"_http"}}}'
DNS_QUESTION = b"\0\0\1\0\0\1\0\0\0\0\0\0\3www\7example\3com\0\0\1\0\1"


class Round:
    """What one round gave: answers a second, CPU of the server for each, octets of an answer, CPU of others."""

    def __init__(self, count, seconds, cpu, octets, foreign):
        self.rate, self.cpu, self.octets, self.foreign = count / seconds, cpu / count * 1e6, octets, foreign


class Bench:
    """What all cases share."""

    def __init__(self, arguments, folder):
        self.arguments, self.dir = arguments, folder
        self.watchfire = arguments.watchfire
        self.pki = folder / "pki"
        self.run("pki", "init", "--dir", self.pki)
        self.run("pki", "issue", "--profile", "tls-server", "--name", "localhost", "--dir", self.pki)
        self.cert, self.key, self.ca = (self.pki / name for name in ("localhost.pem", "localhost.key", "ca.pem"))

    def run(self, *words):
        done = subprocess.run([self.watchfire, *map(str, words)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CaseFailed(f"watchfire {words[0]} {words[1]}: {done.stderr.strip()}")
        return done.stdout


def wait_for(port, child, what):
    deadline = time.monotonic() + 20
    while not listens(port):
        if child.poll() or time.monotonic() > deadline:
            raise CaseFailed(f"{what} does not listen; {child.last_words()}")
        time.sleep(0.02)


def measured(server, load):
    """Runs a load against a server: answers, seconds, octets of one; and what the server used for it."""
    foreign, used = Foreign(), server.cpu()
    before = children_cpu()
    count, seconds, octets = load()
    cpu = server.cpu() - used
    share = foreign.share(cpu + children_cpu() - before)
    return Round(count, seconds, cpu, octets, share)


def authority(folder):
    """NSD with the zone."""
    port = free_port()
    zone = folder.dir / "zone"
    zone.write_text(ZONE)
    config = folder.dir / "nsd.conf"
    config.write_text(
        f'server:\n  ip-address: 127.0.0.1@{port}\n  username: ""\n  chroot: ""\n  zonesdir: "{folder.dir}"\n'
        f'  database: ""\n  pidfile: "{folder.dir}/nsd.pid"\n  xfrdfile: "{folder.dir}/xfrd"\n'
        f'  zonelistfile: "{folder.dir}/zones"\n  server-count: 1\nremote-control:\n  control-enable: no\n'
        f'zone:\n  name: "example.com"\n  zonefile: "{zone}"\n'
    )
    child = folder.start("nsd", tool("nsd"), "-d", "-c", config)
    wait_for(port, child, "NSD")
    return child, port


def broker(bench, folder):
    """A broker that has the answer in its cache, and a binding."""
    _, port = authority(folder)
    accounts, pin, binding = (folder.dir / name for name in ("accounts.toml", "pin", "binding.json"))
    account = "bob@example.com"
    pin.write_text(bench.run("obp", "account", "add", "--accounts", accounts, account, "--pin"))
    flags = ("--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--cert", bench.cert, "--key", bench.key)
    flags += ("--accounts", accounts, "--resolver", f"127.0.0.1:{port}", "--roots", bench.ca)
    child = folder.start("broker", *SERVER, bench.watchfire, "--json", "obp", "broker", *flags)
    listening, _ = child.event("listening", time.monotonic() + 20)
    https = int(listening["addr"].rsplit(":", 1)[1])
    word = ("--account", account, "--out", binding, "--pin-file", pin, "--ca", bench.ca)
    bench.run("obp", "bind", "--broker", f"https://localhost:{https}", *word)
    for transport in ("udp", "http"):
        answer = bench.run("obp", "connect", "--binding", binding, "--transport", transport, "www.example.com", "_http")
        if "192.0.2.1" not in answer:
            raise CaseFailed(f"the broker answers {answer!r}")
    return child, https, binding


def udp(bench):
    with Folder(bench, "broker") as folder:
        child, _, binding = broker(bench, folder)

        def load():
            words = (binding, "www.example.com", "_http", bench.arguments.queries, UNDER_WAY)
            said = json.loads(output(*LOADER, bench.arguments.loader, *words))
            if said["lost"]:
                raise CaseFailed(f"{said['lost']} datagrams were lost")
            return said["answered"], said["answered"] / said["per_second"], said["octets"]

        return measured(child, load)


def session(binding):
    """The Session header of the question, in the seed profile."""
    services = json.loads(binding.read_text())["Service"]
    credentials = next(one for one in services if one["Transport"] == "HTTP")["Cryptographic"]
    secret = base64.urlsafe_b64decode(credentials["Secret"] + "=" * (-len(credentials["Secret"]) % 4))
    value = base64.urlsafe_b64encode(hmac.new(secret, QUESTION, hashlib.sha256).digest()).rstrip(b"=").decode()
    return f"session: Value={value}; Id={credentials['Ticket']}"


def h2load(bench, folder, url, body, *headers):
    """Ten connections with ten requests each under way, all answered by 200."""
    data = folder.dir / "body"
    data.write_bytes(body)
    count = bench.arguments.queries // 4
    words = [word for header in headers for word in ("-H", header)]
    said = output(*LOADER, tool("h2load"), "-n", count, "-c", 10, "-m", 10, "-t", 1, "-d", data, *words, url)
    if f"status codes: {count} 2xx" not in said:
        raise CaseFailed(f"not all were answered: {re.findall(r'status codes.*|requests:.*', said)}")
    seconds = count / float(re.search(r"([\d.]+) req/s", said).group(1))
    octets = int(re.search(r"\((\d+)\) data", said).group(1)) // count
    return count, seconds, octets


def https(bench):
    with Folder(bench, "broker") as folder:
        child, port, binding = broker(bench, folder)
        url = f"https://localhost:{port}/.well-known/omni-query/"
        return measured(
            child,
            lambda: h2load(bench, folder, url, QUESTION, "content-type: application/json", session(binding)),
        )


def doh(bench, folder, child, port):
    url = f"https://localhost:{port}/dns-query"
    kind = "application/dns-message"
    headers = f"content-type: {kind}", f"accept: {kind}"
    return measured(child, lambda: h2load(bench, folder, url, DNS_QUESTION, *headers))


def dnsperf(bench, folder, child, port):
    question = folder.dir / "question"
    question.write_text("www.example.com A\n")

    def load():
        words = ("-d", question, "-T", 1, "-c", 4, "-q", UNDER_WAY, "-n", bench.arguments.queries)
        said = output(*LOADER, tool("dnsperf"), "-s", "127.0.0.1", "-p", port, *words)
        answered = int(re.search(r"Queries completed:\s+(\d+)", said).group(1))
        if f"NOERROR {answered} " not in said:
            raise CaseFailed(f"not all were answered: {said[-600:]}")
        seconds = answered / float(re.search(r"Queries per second:\s+([\d.]+)", said).group(1))
        sizes = re.search(r"Average packet size:\s+request \d+, response (\d+)", said)
        return answered, seconds, int(sizes.group(1)) if sizes else 0

    return measured(child, load)


def hickory(bench, folder):
    child = folder.start("hickory", *SERVER, bench.arguments.hickory, bench.cert, bench.key)
    listening, _ = child.event("listening", time.monotonic() + 20)
    return child, listening


def udp_hickory(bench):
    with Folder(bench, "hickory") as folder:
        child, listening = hickory(bench, folder)
        return dnsperf(bench, folder, child, listening["udp"])


def https_hickory(bench):
    with Folder(bench, "hickory") as folder:
        child, listening = hickory(bench, folder)
        return doh(bench, folder, child, listening["https"])


def unbound(bench, folder):
    plain, secure = free_port(), free_port()
    config = folder.dir / "unbound.conf"
    config.write_text(
        f"server:\n  interface: 127.0.0.1@{plain}\n  interface: 127.0.0.1@{secure}\n  https-port: {secure}\n"
        f'  tls-service-key: "{bench.key}"\n  tls-service-pem: "{bench.cert}"\n  num-threads: 1\n  do-daemonize: no\n'
        f'  username: ""\n  chroot: ""\n  directory: "{folder.dir}"\n  pidfile: "{folder.dir}/unbound.pid"\n'
        '  local-zone: "example.com." static\n  local-data: "www.example.com. A 192.0.2.1"\n  verbosity: 0\n'
        "  use-syslog: no\n  http-max-streams: 100\n"
    )
    child = folder.start("unbound", *SERVER, tool("unbound"), "-c", config)
    wait_for(secure, child, "unbound")
    return child, plain, secure


def udp_unbound(bench):
    with Folder(bench, "unbound") as folder:
        child, plain, _ = unbound(bench, folder)
        return dnsperf(bench, folder, child, plain)


def https_unbound(bench):
    with Folder(bench, "unbound") as folder:
        child, _, secure = unbound(bench, folder)
        return doh(bench, folder, child, secure)


def https_dnsdist(bench):
    with Folder(bench, "dnsdist") as folder:
        _, behind = authority(folder)
        port = free_port()
        config = folder.dir / "dnsdist.conf"
        config.write_text(
            f'addDOHLocal("127.0.0.1:{port}", "{bench.cert}", "{bench.key}", "/dns-query")\n'
            f'newServer("127.0.0.1:{behind}")\ngetPool(""):setCache(newPacketCache(1000))\n'
            'addACL("127.0.0.0/8")\nsetSecurityPollSuffix("")\n'
        )
        child = folder.start(
            "dnsdist", *SERVER, tool("dnsdist"), "--supervised", "--disable-syslog", "-C", config,
            "-l", f"127.0.0.1:{free_port()}",
        )  # fmt: skip
        wait_for(port, child, "dnsdist")
        time.sleep(1)  # until its health check has passed
        return doh(bench, folder, child, port)


# name: (what, how a round is run)
CASES = {
    "udp": ("watchfire, sealed datagrams, HMAC-SHA-256 and AES-128-CBC", udp),
    "udp-hickory": ("hickory-server, plain DNS", udp_hickory),
    "udp-unbound": ("unbound, plain DNS", udp_unbound),
    "https": ("watchfire, HTTP/2, HMAC-SHA-256", https),
    "https-unbound": ("unbound, DNS over HTTPS", https_unbound),
    "https-hickory": ("hickory-server, DNS over HTTPS", https_hickory),
    "https-dnsdist": ("dnsdist with its packet cache, DNS over HTTPS", https_dnsdist),
}


def rows_of(bench):
    """Runs the rounds, the cases of a round one after the other, so that a noisy minute hits all of them."""
    names = [name for name in CASES if name in bench.arguments.only]
    rounds, failures = {name: [] for name in names}, {}
    for turn in range(bench.arguments.rounds):
        for name in names:
            if name in failures:
                continue
            try:
                got = CASES[name][1](bench)
                rounds[name].append(got)
                print(f"round {turn + 1}, {name}: {got.rate:,.0f}/s, {got.cpu:.1f} µs", file=sys.stderr, flush=True)
            except (CaseFailed, OSError, subprocess.SubprocessError) as failure:
                failures[name] = failure
                print(f"round {turn + 1}, {name}: {failure}", file=sys.stderr, flush=True)
    rows = []
    for name in names:
        start = f"| `{name}` | {CASES[name][0]} |"
        if name in failures:
            rows.append(f"{start} did not run: {escape(failures[name])} | | | |")
            continue
        got = rounds[name]
        each = ", ".join(f"{one.rate / 1000:.1f}" for one in got)
        rate, cpu = (statistics.median(getattr(one, of) for one in got) for of in ("rate", "cpu"))
        others = max(one.foreign for one in got)
        rows.append(f"{start} **{rate / 1000:.1f}** ({each}) | {cpu:.1f} | {got[0].octets} | {others:.0%} |")
    return rows, failures


def executables(target):
    """The two programs that cargo has made for this."""
    words = ["cargo", "bench", "-p", "watchfire-benches", "--bench", "obp_datagrams", "--bench", "obp_hickory"]
    words += ["--no-run", "--message-format=json"] + (["--target-dir", str(target)] if target else [])
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    made = (json.loads(line) for line in done.stdout.splitlines())
    found = {one["target"]["name"]: one["executable"] for one in made if one.get("executable")}
    return found["obp_datagrams"], found["obp_hickory"]


def arguments_given():
    arguments = Arguments(__doc__, CASES, TABLE)
    add = arguments.add
    add("--target", metavar="DIR", type=pathlib.Path, help="cargo's folder for the loader and hickory [cargo's own]")
    add("--queries", metavar="N", type=int, default=300_000, help="datagrams in a round, a quarter over HTTP [300000]")
    given = arguments.parse()
    if given.queries < 40:
        arguments.error("there must be 40 queries in a round")
    given.loader, given.hickory = executables(given.target)
    return given


def versions():
    named = {"unbound": "unbound", "dnsdist": "dnsdist", "h2load": "nghttp2-client", "dnsperf": "dnsperf"}
    version = lambda package: machine.first_line("dpkg-query", "-W", "-f", "${Version}", package)
    return ", ".join(f"{name} {version(package)}" for name, package in named.items())


def main():
    # An end by signal also runs the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = arguments_given()
    with tempfile.TemporaryDirectory(prefix="watchfire-rates-", dir=arguments.dir) as folder:
        bench = Bench(arguments, pathlib.Path(folder).resolve())
        head = f"{machine.ours(bench.watchfire)} {versions()}.\n{machine.what_it_is()}"
        rows, failures = rows_of(bench)
    title = "| case | what answers | thousand answers/s, median (all rounds) | server, CPU µs/answer "
    title += "| octets of an answer | CPU of others, at most |"
    table = f"{head}\n\n" + "\n".join((title, "| --- | --- | --- | --- | --- | --- |", *rows))
    print(table)
    if arguments.write:
        TABLE.put(table)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
