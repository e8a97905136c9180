#!/usr/bin/env python3
"""zookeeper_proxy.py UPSTREAM_PORT: a proxy before one ZooKeeper server that mistreats the requests it is told to.

Prints "port N". Rules come on standard input, one per line; each is answered by a line "ok N", where N says how many
requests the rules have met so far.

  lose OPCODE COUNT   the next COUNT requests of this kind (1 create, 2 delete, 5 set, 14 multi, 15 create2) are executed;
                      the connection is reset when their answer comes
  unsent OPCODE COUNT   the connection is reset and the request is not forwarded
  deaf ON             1: nothing is read from clients any more; connections stay; 0: it is again
  cut                 resets every connection
  say WHAT            clients hear what a server does not say: "unasked", an answer to no request; "short", a frame
                      without a whole head; "endless", a length beyond all
  refuse ON           1: new connections are reset at once; 0: they are taken again
  met                 nothing
  taken               nothing; N says how many connections were taken so far

Knows frames (a length, then the request's number and kind), nothing else.
"""
import socket
import struct
import sys
import threading

upstream = ("127.0.0.1", int(sys.argv[1]))
state = threading.Condition()
sayings = {
    "unasked": struct.pack(">iiqi", 16, 12345, 1, 0),
    "short": struct.pack(">ii", 4, -1),
    "endless": struct.pack(">iiqi", -5, 12345, 1, 0),
}
rules, met, taken, deaf, refuse, connections = [], 0, 0, False, False, []


def reset(sock):
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    try:
        sock.close()
    except OSError:
        pass


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise OSError("closed")
        data += more
    return data


def read_frame(sock):
    head = read_exactly(sock, 4)
    return head + read_exactly(sock, struct.unpack(">i", head)[0])


class Connection:
    def __init__(self, client):
        self.client = client
        self.server = socket.create_connection(upstream)
        self.lost = set()
        for sock in (self.client, self.server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self.requests, daemon=True).start()
        threading.Thread(target=self.answers, daemon=True).start()

    def end(self):
        reset(self.client)
        reset(self.server)

    def say(self, data):
        try:
            self.client.sendall(data)
        except OSError:
            pass

    def treatment(self, kind):
        global met
        with state:
            for rule in rules:
                if rule[1] == kind and rule[2] > 0:
                    rule[2] -= 1
                    met += 1
                    return rule[0]
        return None

    def requests(self):
        try:
            self.server.sendall(read_frame(self.client))
            while True:
                with state:
                    state.wait_for(lambda: not deaf)
                frame = read_frame(self.client)
                number, kind = struct.unpack(">ii", frame[4:12])
                how = self.treatment(kind)
                if how == "unsent":
                    return
                if how == "lose":
                    self.lost.add(number)
                self.server.sendall(frame)
        except OSError:
            pass
        finally:
            self.end()

    def answers(self):
        try:
            self.client.sendall(read_frame(self.server))
            while True:
                frame = read_frame(self.server)
                if struct.unpack(">i", frame[4:8])[0] in self.lost:
                    return
                self.client.sendall(frame)
        except OSError:
            pass
        finally:
            self.end()


def accept(listener):
    global taken
    while True:
        client, _ = listener.accept()
        if refuse:
            reset(client)
            continue
        try:
            connections.append(Connection(client))
            taken += 1
        except OSError:
            reset(client)


def main():
    global deaf, refuse
    listener = socket.create_server(("127.0.0.1", 0))
    print("port", listener.getsockname()[1], flush=True)
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    for line in sys.stdin:
        words = line.split()
        with state:
            if words[0] in ("lose", "unsent"):
                rules.append([words[0], int(words[1]), int(words[2])])
            elif words[0] == "deaf":
                deaf = words[1] == "1"
            elif words[0] == "say":
                for connection in connections:
                    connection.say(sayings[words[1]])
            elif words[0] == "refuse":
                refuse = words[1] == "1"
            elif words[0] == "cut":
                for connection in connections:
                    connection.end()
                connections.clear()
            state.notify_all()
            print("ok", taken if words[0] == "taken" else met, flush=True)


main()
