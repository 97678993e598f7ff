"""An IAP/0.3 peer written from draft-ietf-idwg-iap-01 alone, to have a second opinion.

peer.py analyzer CERT KEY CA HOST:PORT   dials, delivers, prints every status
peer.py manager CERT KEY CA COUNT        listens, prints its address, then the peer's name and COUNT bodies
"""
import re
import socket
import ssl
import sys

role, cert, key, ca, last = sys.argv[1:6]


class Wire:
    """Reads what is asked for; keeps the rest."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return head.decode()

    def exactly(self, count):
        while len(self.buffer) < count:
            self.more()
        body, self.buffer = self.buffer[:count], self.buffer[count:]
        return body

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def status(self):
        code = re.fullmatch(r"IAP/0\.3 (\d{3})", self.head()).group(1)
        print(code, flush=True)
        return code


def context(purpose):
    made = ssl.SSLContext(purpose)
    made.load_cert_chain(cert, key)
    made.load_verify_locations(ca)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def content(kind, body):
    return f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n"


if role == "analyzer":
    host, port = last.rsplit(":", 1)
    tcp = socket.create_connection((host, int(port)))
    wire = Wire(tcp)
    tcp.sendall(b"IAP/0.3 CONNECT manager.test\r\n\r\n")
    assert wire.status() == "200"
    tcp.sendall(b"IAP/0.3 Upgrade: TLS/1.0\r\n\r\n")
    assert wire.status() == "101" and not wire.buffer
    tls = context(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(tcp, server_hostname="manager.test")
    wire = Wire(tls)
    # As the transcript of section 4.4 has it, with the version before the role.
    tls.sendall(b"IAP/0.3 IAP-Version: 0.3\r\nIAP/0.3 IAP-Role: Sender\r\n\r\n")
    assert wire.status() == "200"
    tls.sendall(content("application/x-idef-alert", b"\xff" * 64))
    wire.status()
    tls.sendall(content("application/x-unheard-of", b"opaque"))
    wire.status()
    tls.sendall(content("text/plain", b"first") + content("text/plain", b"second"))
    wire.status(), wire.status()
    tls.sendall(content("application/xml", b"<not-idmef"))
    wire.status()
    tls.unwrap()
else:
    listener = socket.create_server(("127.0.0.1", 0))
    print("127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    tcp, _ = listener.accept()
    wire = Wire(tcp)
    assert wire.head() == "IAP/0.3 CONNECT manager.test"
    tcp.sendall(b"IAP/0.3 200\r\n\r\n")
    assert wire.head() == "IAP/0.3 Upgrade: TLS/1.0"
    tcp.sendall(b"IAP/0.3 101\r\n\r\n")
    tls = context(ssl.PROTOCOL_TLS_SERVER).wrap_socket(tcp, server_side=True)
    names = dict(pair[0] for pair in tls.getpeercert()["subject"])
    print(names["commonName"], flush=True)
    wire = Wire(tls)
    assert wire.head() == "IAP/0.3 IAP-Version: 0.3\r\nIAP-Role: Sender"
    tls.sendall(b"IAP/0.3 200\r\n\r\n")
    for _ in range(int(last)):
        kind, length = wire.head().split("\r\n")
        assert kind == "Content-Type: application/x-idef-alert", kind
        body = wire.exactly(int(re.fullmatch(r"Content-Length: (\d+)", length).group(1)))
        assert wire.exactly(4) == b"\r\n\r\n"
        print(body.decode(), flush=True)
        tls.sendall(b"IAP/0.3 200\r\n\r\n")
    try:
        wire.more()
    except EOFError:
        print("close_notify", flush=True)
    tls.unwrap()
