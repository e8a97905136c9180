#!/usr/bin/env python3
"""suite_dumb.py MODE: a server that is no etcd. Prints "port N" and answers every request in the way MODE says."""
import socket
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


def serve(client):
    try:
        client.settimeout(30)
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
