"""A peer by aiocoap, over plain CoAP on TCP (RFC 8323): `serve`, or `ask PORT`. Each line that it prints is an event."""
import asyncio
import socket
import sys

import aiocoap
from aiocoap import resource

DOTS = 271
# RFC 9066 figure 10.
ATTACK = bytes.fromhex(
    "a101a10281a3068173323030313a6462383a633030303a3a2f3132380e190e10198000"
    "8173323030313a6462383a3132333a3a312f313238"
)


def say(*words):
    print(*words, flush=True)


class Mitigations(resource.Resource, resource.PathCapable):
    """Grants an hour to whatever is asked."""

    async def render_put(self, request):
        path = request.opt.uri_path
        say("put", *path, int(request.opt.content_format), request.payload.hex())
        mid = int(path[-1].removeprefix("mid="))
        assert mid < 24
        granted = bytes.fromhex("a101a10281a205%02x0e190e10" % mid)
        return aiocoap.Message(code=aiocoap.CREATED, payload=granted, content_format=DOTS)

    async def render_delete(self, request):
        say("delete", *request.opt.uri_path)
        return aiocoap.Message(code=aiocoap.DELETED)


class Heartbeats(resource.Resource):
    async def render_put(self, request):
        say("hb", request.payload.hex())
        return aiocoap.Message(code=aiocoap.CHANGED)


async def serve():
    site = resource.Site()
    site.add_resource([".well-known", "dots", "mitigate"], Mitigations())
    site.add_resource([".well-known", "dots", "hb"], Heartbeats())
    # Port 0 would be the default port here, so one that is free is sought, until it is still free when it is used.
    for _ in range(50):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        try:
            bind = ("127.0.0.1", port)
            context = await aiocoap.Context.create_server_context(site, bind=bind, transports=["tcpserver"])
            break
        except OSError:
            continue
    say("port", port)
    await asyncio.get_running_loop().create_future()
    await context.shutdown()


async def ask(port):
    context = await aiocoap.Context.create_client_context(transports=["tcpclient"])
    base = f"coap+tcp://127.0.0.1:{port}/.well-known/dots"
    one = f"{base}/mitigate/cuid=dz6pHjaADkaFTbjr0JGBpw/mid=7"

    async def request(code, uri, payload=b"", content_format=None):
        message = aiocoap.Message(code=code, uri=uri, payload=payload)
        if content_format is not None:
            message.opt.content_format = content_format
        return await asyncio.wait_for(context.request(message).response, 20)

    first = await request(aiocoap.PUT, one, ATTACK, DOTS)
    say("put", first.code.dotted, int(first.opt.content_format), first.payload.hex())
    # Many under way at once, on one connection.
    many = await asyncio.gather(*(request(aiocoap.PUT, one, ATTACK, DOTS) for _ in range(64)))
    say("refresh", *sorted({answer.code.dotted for answer in many}), len(many))
    wrong = await request(aiocoap.PUT, one, ATTACK, 60)
    say("wrong", wrong.code.dotted, wrong.payload.decode())
    report = await request(aiocoap.GET, one)
    say("get", report.code.dotted, report.payload.hex())
    config = await request(aiocoap.GET, f"{base}/config")
    say("config", config.code.dotted, config.opt.max_age)
    gone = await request(aiocoap.DELETE, one)
    say("delete", gone.code.dotted, len(gone.payload))
    nothing = await request(aiocoap.GET, f"{base}/nothing")
    say("nothing", nothing.code.dotted)
    await context.shutdown()


if sys.argv[1] == "serve":
    asyncio.run(serve())
else:
    asyncio.run(ask(sys.argv[2]))
