#!/usr/bin/env python3
"""seeds.py: writes the corpus that fuzzing begins with, from the databases in tests/data/rpmdb: headers and small databases, whole and
damaged in each way that a reader has to withstand. What fuzzing finds is kept beside it under other names."""
import os, struct

HERE = os.path.dirname(os.path.abspath(__file__))
data = lambda name: open(os.path.join(HERE, "../tests/data/rpmdb", name, "ndb/Packages.db"), "rb").read()


def headers(db):
    for slot in range(2, 256):
        _, _, block, _ = struct.unpack_from("<4sIII", db, slot * 16)
        if block:
            length, = struct.unpack_from("<I", db, block * 16 + 12)
            yield db[block * 16 + 16:block * 16 + 16 + length]


def keep(target, name, content):
    path = os.path.join(HERE, "corpus", target, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(content)


def patch(content, at, value, order):
    new = bytearray(content)
    struct.pack_into(order + "I", new, at, value & 0xffffffff)
    return bytes(new)


few, edge = list(headers(data("few"))), list(headers(data("edge")))
name = lambda h: h[h.index(b"C\0") + 2:].split(b"\0")[0].decode()
for h in few + [h for h in edge if len(h) < 1500]:
    keep("rpmdb_header", "whole-" + name(h)[:20], h)

# headers: counts and lengths, and each field of each kind of entry
whole = few[0]
entries, length = struct.unpack_from(">II", whole)
damaged = {"empty": b"", "7-bytes": whole[:7], "cut": whole[:-1], "longer": whole + b"\0"}
for text, value in ("0", 0), ("more", entries + 1), ("fewer", entries - 1), ("most", 0xffff), ("huge", 0xffffffff):
    damaged["entries-" + text] = patch(whole, 0, value, ">")
    damaged["length-" + text] = patch(whole, 4, value, ">")
for entry in 0, 1, entries - 1:
    at = 8 + 16 * entry
    for field, values in enumerate([(0, 63, 1029, 1117), (0, 3, 4, 6, 8, 9, 10), (-1, 1, length, length - 1, 0x7fffffff), (0, 1, 2, 0xffffffff)]):
        for value in values:
            damaged[f"entry{entry}-field{field}-{value}"] = patch(whole, at + 4 * field, value, ">")
place, = struct.unpack_from(">I", whole, 8 + 8)
trailer = 8 + 16 * entries + place
for field in range(4):
    for value in (0, 16, -16, -16 * 1000, -1):
        damaged[f"trailer-{field}-{value}"] = patch(whole, trailer + 4 * field, value, ">")
damaged["last-string-without-end"] = whole[:-1] + b"x"
for text, content in damaged.items():
    keep("rpmdb_header", "bad-" + text, content)

# databases of two packages: head, slots, blobs
def database(*contents, pages=1):
    slots, blobs = bytearray(struct.pack("<4sIIII12x", b"RpmP", 0, 3, pages, 3)), b""
    for number, content in enumerate(contents, 1):
        blocks = (16 + len(content) + 12 + 15) // 16
        slots += struct.pack("<4sIII", b"Slot", number, pages * 256 + len(blobs) // 16, blocks)
        blobs += (struct.pack("<4sIII", b"BlbS", number, 1, len(content)) + content).ljust(blocks * 16 - 12, b"\0")
        blobs += struct.pack("<II4s", 0, len(content), b"BlbE")
    while len(slots) < pages * 4096:
        slots += b"Slot" + 12 * b"\0"
    return bytes(slots) + blobs


two = database(few[1], few[2])
blob, blocks = struct.unpack_from("<II", two, 40)
damaged = {"whole": two, "empty": b"", "31-bytes": two[:31], "cut": two[:-5], "magic": b"X" + two[1:], "version": patch(two, 4, 1, "<"),
           "half": two[:4096 + 600]}
for text, at, values in (("pages", 12, (0, 2, 0xffff, 0xffffffff)), ("number", 36, (0, 2, 0xffffffff)), ("block", 40, (1, 255, blob + 1, 0xffffff, 0xffffffff)),
                         ("blocks", 44, (0, 1, blocks + 1, blocks - 1, 0xffffffff)), ("head", 4096 + 4, (2,)), ("length", 4096 + 12, (0, 1, 4000, 0xffffffff)),
                         ("tail", 4096 + blocks * 16 - 8, (0, 0xffffffff)), ("end", 4096 + blocks * 16 - 4, (0,)), ("slot", 32, (0,))):
    for value in values:
        damaged[f"{text}-{value}"] = patch(two, at, value, "<")
for text, content in damaged.items():
    keep("rpmdb_ndb", text, content)
