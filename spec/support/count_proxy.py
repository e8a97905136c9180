#!/usr/bin/env python3
"""count_proxy.py PORT: passes connections on to that loopback port and counts the HTTP requests on them.

Prints "port N"; then answers each line of its standard input with "requests open busy": requests so far, connections
open now, and those of them on which an answer is awaited.
"""
import asyncio
import re
import sys

REQUEST = re.compile(rb"(?:GET|PUT|POST|DELETE) /v1/\S* HTTP/1\.1\r\n")
ANSWER = re.compile(rb"HTTP/1\.1 \d+ [^\r\n]*\r\n")


class Connection:
    every = set()
    requests = 0

    def __init__(self):
        self.pending = 0

    def asked(self, count):
        Connection.requests += count
        self.pending += count

    def answered(self, count):
        self.pending -= count


async def pump(reader, writer, pattern, count):
    tail = b""
    try:
        while data := await reader.read(65536):
            text = tail + data
            count(len(pattern.findall(text)))
            # What may be the beginning of such a line is looked at again with what follows.
            tail = text[text.rfind(b"\n") + 1:][-4096:]
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    connection = Connection()
    Connection.every.add(connection)
    try:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
        await asyncio.gather(pump(reader, to_server, REQUEST, connection.asked),
                             pump(from_server, writer, ANSWER, connection.answered))
    except OSError:
        writer.close()
    finally:
        Connection.every.discard(connection)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        busy = sum(connection.pending > 0 for connection in Connection.every)
        print(Connection.requests, len(Connection.every), busy, flush=True)


asyncio.run(main())
