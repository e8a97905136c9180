#!/usr/bin/env python3
"""forward.py HOST PORT: a TCP forwarder that can be stopped (SIGSTOP), so that one client's network falls silent while
everybody else still reaches the server. Prints "port N"."""
import socket
import sys
import threading

target = (sys.argv[1], int(sys.argv[2]))


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for one in (source, sink):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
while True:
    client, _ = listener.accept()
    try:
        server = socket.create_connection(target)
    except OSError:
        client.close()
        continue
    for ends in ((client, server), (server, client)):
        threading.Thread(target=pump, args=ends, daemon=True).start()
