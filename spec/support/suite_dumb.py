#!/usr/bin/env python3
"""suite_dumb.py MODE: a server that is no etcd. Prints "port N" and answers every request in the way MODE says."""
import socket
import struct
import sys
import threading
import time

mode = sys.argv[1]


def http(status, kind, body, *headers):
    lines = ["HTTP/1.1 " + status, "Content-Type: " + kind, "Content-Length: %d" % len(body), *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


ANSWERS = {
    "html": http("200 OK", "text/html", b"<html><body>Welcome to nginx!</body></html>"),
    "half": http("200 OK", "application/json", b'{"header":{"cluster_id":"1","member_id":"2","revis'),
    "empty": http("200 OK", "application/json", b""),
    "other_json": http("200 OK", "application/json", b'{"hello":"world"}'),
    "not_found": http("404 Not Found", "text/plain", b"404 page not found\n"),
    "redirect": http("301 Moved Permanently", "text/html", b"", "Location: http://127.0.0.1:1/elsewhere"),
    "bad_gateway": http("502 Bad Gateway", "text/html", b"<html>502</html>"),
    "truncated": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{\"header\":",
    "garbage": b"\x00\xff\x13\x37 this is not http\r\n\r\n",
    "huge": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900000000\r\n\r\n" + b" " * 4000000,
    "headers": b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"y" * 8000 + b"\r\n" * 1 + b"X-More: z\r\n" * 20000 + b"\r\n",
    "deep": http("200 OK", "application/json", b'{"a":' * 100000),
}

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, RST_STREAM, SETTINGS, GOAWAY = 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4
MESSAGE = b"\x0a\x04\x08\x07\x18\x32"  # cluster 7 at revision 50


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    """Never indexed, so that one answer does not depend on those before it."""
    return b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(stream, status, kind, more=b"", flags=0):
    fields = field(b":status", status) + field(b"content-type", kind) + more
    return frame(HEADERS, END_HEADERS | flags, stream, fields)


def data(stream, body, flags=END_STREAM):
    return frame(0, flags, stream, body)


def grpc(stream, body, code):
    trailers = frame(HEADERS, END_HEADERS | END_STREAM, stream, field(b"grpc-status", code))
    return head(stream, b"200", b"application/grpc") + data(stream, body, 0) + trailers


def failed(stream, code, text):
    more = field(b"grpc-status", code) + field(b"grpc-message", text)
    return head(stream, b"200", b"application/grpc", more, END_STREAM)


PREFIX = b"\0\0\0\0" + bytes([len(MESSAGE)])

# What is said to each request over HTTP/2.
FRAMES = {
    "h2_html": lambda n: head(n, b"200", b"text/html") + data(n, b"<html>Welcome to nginx!</html>"),
    "h2_not_found": lambda n: head(n, b"404", b"text/html") + data(n, b"<html>404</html>"),
    "h2_redirect": lambda n: head(n, b"301", b"text/html", field(b"location", b"http://127.0.0.1:1/"), END_STREAM),
    "h2_no_status": lambda n: head(n, b"200", b"application/grpc") + data(n, PREFIX + MESSAGE),
    "h2_compressed": lambda n: grpc(n, b"\1" + PREFIX[1:] + MESSAGE, b"0"),
    "h2_half_message": lambda n: grpc(n, PREFIX + MESSAGE[:3], b"0"),
    "h2_other_message": lambda n: grpc(n, b"\0\0\0\0\5hello", b"0"),
    "h2_unimplemented": lambda n: failed(n, b"12", b"unknown%20service"),
    "h2_unavailable": lambda n: failed(n, b"14", b"try%20later"),
    "h2_half_frame": lambda n: head(n, b"200", b"application/grpc")[:-5],
    "h2_garbage": lambda n: b"\xff" * 200,
    "h2_reset": lambda n: frame(RST_STREAM, 0, n, b"\0\0\0\2"),
    "h2_goaway": lambda n: frame(GOAWAY, 0, 0, b"\0" * 8),
    "h2_silent": lambda n: b"",
}


def serve_frames(client):
    answer = FRAMES[mode]
    received = b""
    client.sendall(frame(SETTINGS, 0, 0))
    while True:
        data_in = client.recv(65536)
        if not data_in:
            return
        received += data_in
        if received.startswith(PREFACE):
            received = received[len(PREFACE):]
        while len(received) >= 9 and len(received) >= 9 + int.from_bytes(received[:3], "big"):
            size, kind, flags = int.from_bytes(received[:3], "big"), received[3], received[4]
            stream = int.from_bytes(received[5:9], "big")
            received = received[9 + size:]
            if kind == SETTINGS and not flags & 1:
                client.sendall(frame(SETTINGS, 1, 0))
            elif kind == HEADERS:
                client.sendall(answer(stream))
                if mode in ("h2_half_frame", "h2_garbage", "h2_goaway"):
                    return


def serve(client):
    try:
        client.settimeout(30)
        if mode in FRAMES:
            serve_frames(client)
            return
        while True:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65536)
                if not data:
                    return
                head += data
            if mode == "silent":
                time.sleep(600)
            if mode == "hang_up":
                return
            client.sendall(ANSWERS[mode])
            if mode in ("truncated", "garbage", "huge", "headers"):
                return
    except OSError:
        pass
    finally:
        client.close()


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(64)
print("port", listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
