#!/usr/bin/env python3
"""kazoo_peer.py HOSTS [USER:SECRET]: a kazoo client that does what it is told, one command per line on standard input.

Prints "ready", then for every command one line "ok ..." or "error ...". A lock and a leader live in threads of their own,
which print "held NAME", "released NAME", "elected NAME", "resigned NAME" when it has happened.

  lock NAME PATH      begins to acquire          release NAME    gives it up
  elect NAME PATH     begins to campaign         resign NAME     gives it up
  children PATH       names, sorted              get PATH        content
  create PATH [DATA]  persistent, with parents   seq PATH        ephemeral and sequential: its name
  delete PATH         acl PATH                   session PATH    owner of an ephemeral node
"""
import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

lock = threading.Lock()
stops, locks = {}, {}


def say(*words):
    with lock:
        print(*words, flush=True)


def hold(client, name, path):
    mine = client.Lock(path, name)
    stops[name] = threading.Event()
    mine.acquire()
    say("held", name)
    stops[name].wait()
    mine.release()
    say("released", name)


def campaign(client, name, path):
    stops[name] = threading.Event()

    def lead():
        say("elected", name)
        stops[name].wait()

    client.Election(path, name).run(lead)
    say("resigned", name)


def run(client, words):
    verb, rest = words[0], words[1:]
    if verb in ("lock", "elect"):
        threading.Thread(target=hold if verb == "lock" else campaign, args=(client, *rest), daemon=True).start()
        return ""
    if verb in ("release", "resign"):
        stops[rest[0]].set()
        return ""
    if verb == "children":
        return " ".join(sorted(client.get_children(rest[0])))
    if verb == "get":
        return client.get(rest[0])[0].decode("utf-8", "replace")
    if verb == "create":
        client.create(rest[0], " ".join(rest[1:]).encode(), makepath=True)
        return ""
    if verb == "seq":
        return client.create(rest[0], b"", ephemeral=True, sequence=True, makepath=True)
    if verb == "delete":
        client.delete(rest[0])
        return ""
    if verb == "acl":
        return " ".join("%s:%s" % (acl.id.scheme, acl.acl_list) for acl in client.get_acls(rest[0])[0])
    if verb == "session":
        return "%x" % client.get(rest[0])[1].ephemeralOwner
    raise ValueError("what is " + verb)


def main():
    client = KazooClient(hosts=sys.argv[1], timeout=10)
    client.start(timeout=30)
    if len(sys.argv) > 2:
        client.add_auth("digest", sys.argv[2])
    say("ready")
    for line in sys.stdin:
        try:
            say("ok", run(client, line.split()))
        except (KazooException, ValueError, KeyError) as error:
            say("error", type(error).__name__, error)


main()
