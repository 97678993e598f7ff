"""The alerts that are sent."""

OCTETS = 860
IDMEF, OPAQUE = "application/x-idef-alert", "application/octet-stream"


def alert(n):
    """An alert of exactly 860 octets on one line; only the messageid differs."""
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
