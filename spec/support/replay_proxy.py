#!/usr/bin/env python3
"""replay_proxy.py UPSTREAM_PORT: an HTTP/1.1 proxy before one etcd member that mistreats the requests it is told to.

Prints "port N". Rules come on standard input, one per line; each is answered by a line "ok".

  rule MODE COUNT PREFIX   the next COUNT transactions that put a key below PREFIX are treated by MODE:
       twice   sent to the server twice; the client gets the first answer
       mute    sent to the server; the client's connection is reset instead of an answer
       late    kept back and not sent; the client's connection is reset
       closed  as `mute`, but the connection is closed in order, as a server that is restarted does
  replay                   sends every request that a rule met to the server again; "ok N" says how many
  met                      "ok N": how many requests the rules have met so far

Everything else, streams included, passes as it is, byte by byte.
"""
import base64
import json
import socket
import struct
import sys
import threading

upstream = ("127.0.0.1", int(sys.argv[1]))
state = threading.Lock()
rules, kept = [], []


def keys_put(body):
    """All keys that a JSON transaction would put."""
    found = []

    def walk(node):
        if isinstance(node, dict):
            for name, child in node.items():
                if name in ("request_put", "requestPut") and isinstance(child, dict) and "key" in child:
                    found.append(base64.b64decode(child["key"]))
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    try:
        walk(json.loads(body))
    except ValueError:
        pass
    return found


def treatment(head, body):
    if b"/kv/txn" not in head.split(b"\r\n", 1)[0]:
        return None
    with state:
        for rule in rules:
            if rule[1] > 0 and any(key.startswith(rule[2]) for key in keys_put(body)):
                rule[1] -= 1
                kept.append((head, body))
                return rule[0]
    return None


def read_head(sock, rest):
    while b"\r\n\r\n" not in rest:
        data = sock.recv(65536)
        if not data:
            return None, b""
        rest += data
    head, _, rest = rest.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def header(head, name):
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def read_message(sock, rest):
    """One message with a length or in chunks: head, body as sent, what follows."""
    head, rest = read_head(sock, rest)
    if head is None:
        return None, b"", b""
    length = header(head, b"content-length")
    if length is not None:
        while len(rest) < int(length):
            data = sock.recv(65536)
            if not data:
                return None, b"", b""
            rest += data
        return head, rest[:int(length)], rest[int(length):]
    if (header(head, b"transfer-encoding") or b"").lower() == b"chunked":
        while not rest.endswith(b"0\r\n\r\n"):
            data = sock.recv(65536)
            if not data:
                return None, b"", b""
            rest += data
        return head, rest, b""
    return head, b"", rest


def send_once(head, body):
    """Sends one request over a connection of its own; its answer as bytes."""
    with socket.create_connection(upstream, 10) as server:
        server.sendall(head + body)
        answer_head, answer_body, _ = read_message(server, b"")
        return (answer_head or b"") + answer_body


def pump(source, sink):
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            sink.sendall(data)
    except OSError:
        pass
    for sock in (source, sink):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def serve(client):
    rest = b""
    try:
        while True:
            head, rest = read_head(client, rest)
            if head is None:
                return
            if b"/v3/watch" in head.split(b"\r\n", 1)[0] or header(head, b"content-length") is None:
                # a stream, or something with a body of unknown size: hand the connection over for good
                server = socket.create_connection(upstream, 10)
                server.sendall(head + rest)
                threading.Thread(target=pump, args=(server, client), daemon=True).start()
                pump(client, server)
                return
            length = int(header(head, b"content-length"))
            while len(rest) < length:
                data = client.recv(65536)
                if not data:
                    return
                rest += data
            body, rest = rest[:length], rest[length:]
            mode = treatment(head, body)
            if mode == "late":
                reset(client)
                return
            answer = send_once(head, body)
            if mode == "twice":
                send_once(head, body)
            elif mode == "mute":
                reset(client)
                return
            elif mode == "closed":
                client.shutdown(socket.SHUT_RDWR)
                return
            client.sendall(answer)
    except OSError:
        pass
    finally:
        try:
            client.close()
        except OSError:
            pass


def listen():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    print("port", listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(client,), daemon=True).start()


threading.Thread(target=listen, daemon=True).start()
for line in sys.stdin:
    words = line.split()
    if words[0] == "rule":
        with state:
            rules.append([words[1], int(words[2]), words[3].encode()])
        print("ok", flush=True)
    elif words[0] == "replay":
        with state:
            again = list(kept)
        for message in again:
            send_once(*message)
        print("ok", len(again), flush=True)
    elif words[0] == "met":
        with state:
            print("ok", len(kept), flush=True)
