#!/usr/bin/env python3
"""count_proxy.py PORT: passes connections on to that loopback port and counts the HTTP requests on them.

Prints "port N"; then answers each line of its standard input with "requests connections longest": requests so far,
connections open now, most that were open at once.
"""
import asyncio
import re
import sys

REQUEST = re.compile(rb"(?:GET|PUT|POST|DELETE) /v1/\S* HTTP/1\.1\r\n")
state = {"requests": 0, "open": 0, "most": 0}


async def pump(reader, writer, count):
    tail = b""
    try:
        while data := await reader.read(65536):
            if count:
                text = tail + data
                state["requests"] += len(REQUEST.findall(text))
                # What may be the beginning of a request line is looked at again with what follows.
                tail = text[text.rfind(b"\n") + 1:][-4096:]
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    state["open"] += 1
    state["most"] = max(state["most"], state["open"])
    try:
        to_server = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
        await asyncio.gather(pump(reader, to_server[1], True), pump(to_server[0], writer, False))
    except OSError:
        writer.close()
    finally:
        state["open"] -= 1


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(state["requests"], state["open"], state["most"], flush=True)


asyncio.run(main())
