# A machine of its own for one test: a network namespace with addresses of the world, private ones, and a
# loopback; then the program of our arguments runs on it, as the user we are.
import ctypes, os, socket, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWNET = 0x10000000, 0x40000000
NEWLINK, NEWADDR, NEWROUTE, REQUEST, LO = 16, 20, 24, 5 | 0x600, 1


def ours():
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(NEWNET | (NEWUSER if uid else 0)):
        raise OSError(ctypes.get_errno(), "unshare")
    if uid:
        open("/proc/self/setgroups", "w").write("deny")
        open("/proc/self/uid_map", "w").write(f"{uid} {uid} 1")
        open("/proc/self/gid_map", "w").write(f"{gid} {gid} 1")


def ask(kind, flags, body):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as route:
        route.send(struct.pack("IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        error = struct.unpack_from("i", route.recv(65536), 16)[0]
        if error:
            raise OSError(-error, os.strerror(-error))


def attribute(kind, data):
    return struct.pack("HH", 4 + len(data), kind) + data


def address(text, card, prefix):
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    raw = socket.inet_pton(family, text)
    # not to be probed for
    ask(NEWADDR, REQUEST, struct.pack("BBBBI", family, prefix or len(raw) * 8, 2, 0, card) + attribute(2, raw))


def padded(kind, data):
    return attribute(kind, data) + bytes(-len(data) % 4)


ours()
ask(NEWLINK, 5, struct.pack("BxHiII", 0, 0, LO, 1, 1))
for one in sys.argv[1].split(","):
    address(one, LO, None)
# a card, with two addresses of one network
CARD, PEER = 8, 9
peer = padded(1, struct.pack("BxHiII", 0, 0, PEER, 0, 0) + padded(3, b"peer\0"))
kind = padded(18, padded(1, b"veth\0") + padded(2, peer))
ask(NEWLINK, REQUEST, struct.pack("BxHiII", 0, 0, CARD, 0, 0) + padded(3, b"card\0") + kind)
for card in (CARD, PEER):
    ask(NEWLINK, 5, struct.pack("BxHiII", 0, 0, card, 1, 1))
for one in sys.argv[2].split(","):
    address(one, CARD, 24)
# the world by IPv6, so that there is a way to it
world = socket.inet_pton(socket.AF_INET6, "2001:db8::")
header = struct.pack("BBBBBBBBI", socket.AF_INET6, 32, 0, 0, 254, 4, 0, 1, 0)
ask(NEWROUTE, REQUEST, header + attribute(1, world) + attribute(4, struct.pack("I", LO)))
open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w").write("0")
os.execv(sys.argv[3], sys.argv[3:])
