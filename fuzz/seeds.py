#!/usr/bin/env python3
"""seeds.py: writes the corpus that fuzzing begins with, from the databases in tests/data/rpmdb: headers and small databases, whole and
damaged in each way that a reader has to withstand; and the same of what sources of A/B updates have, with xz, zstd and lz4 for their
formats. What fuzzing finds is kept beside it under other names."""
import bz2, gzip, io, lzma, os, struct, subprocess, tarfile

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


# A/B updates: a pattern of each kind with a name, whole and refused transfer files, whole and refused manifests
rows = [line.split("\t") for line in open(os.path.join(HERE, "../tests/data/sysupdate/patterns.tsv")).read().splitlines()[1:]]
seen = set()
for pattern, name, required, _, _ in rows:
    kind = {"error": "refused", "no": "other"}.get(required, "match")
    if (pattern, kind) not in seen and "%" not in pattern:
        seen.add((pattern, kind))
        keep("sysupdate_pattern", f"{kind}-{len(seen)}", f"{pattern}\n{name}".replace("\\x7f", "\x7f").encode())

SOURCE, TARGET = "[Source]\nType=regular-file\nPath=/x\nMatchPattern=a@v\n", "[Target]\nPath=/y\nMatchPattern=a@v\n"
every = """[Transfer]
MinVersion=1
ProtectVersion=1 2
Verify=no
ChangeLog=https://example.com/@v
AppStream=https://example.com/x
Features=a b
RequisiteFeatures=c
[Source]
Type=url-file
Path=https://example.com/os
MatchPattern=os_@v_@u_@f.raw os_\\x20@v.raw
X-Mirror=https://example.org/ http://example.net
[Target]
Type=partition
Path=auto
MatchPattern=os_@v
MatchPartitionType=root
PartitionUUID=f4d1234f-3ebf-47c4-b31d-4052982f9a2f
PartitionFlags=0x10
PartitionNoAuto=no
PartitionGrowFileSystem=yes
ReadOnly=1
Mode=0644
TriesLeft=3
TriesDone=0
InstancesMax=2
RemoveTemporary=yes
CurrentSymlink=/run/current
"""
for name, text in {
        "good-every": every, "good-short": SOURCE + TARGET, "good-odd": "\ufeffA=1\nword\n=\n[X-A]\nB=1\n[C]\nD=1\n" + SOURCE + "; c\nPath=\\\n /z\n" + TARGET,
        "good-specifiers": SOURCE + "Path=/%a/%A%%\n" + TARGET, "good-empty": SOURCE + TARGET + "InstancesMax=\nReadOnly=\nMode=\nCurrentSymlink=\n",
        "bad-no-source": TARGET, "bad-no-path": "[Source]\nType=url-file\n" + TARGET, "bad-ftp": "[Source]\nType=url-file\nPath=ftp://x\nMatchPattern=a@v\n" + TARGET,
        "bad-no-pattern": "[Source]\nType=tar\nPath=/x\n" + TARGET, "bad-pattern": SOURCE + "MatchPattern=a@v@u\n" + TARGET, "bad-escape": SOURCE + "MatchPattern=a@v\\q\n" + TARGET,
        "bad-types": SOURCE + TARGET + "Type=directory\n", "bad-relative": SOURCE + "Path=x/y\n" + TARGET, "bad-dots": SOURCE + TARGET + "Path=/x/../y\n",
        "bad-header": "[Source\n", "bad-specifier": SOURCE.replace("a@v", "%Z@v") + TARGET, "bad-empty": ""}.items():
    keep("sysupdate_transfer", name, text.encode())

A, B = 64 * "a", 64 * "B"
good = f"{A}  os_1.raw\n"
for name, text in {
        "good-empty": "", "good-one": good, "good-two": good + f"{B} *sub/os_2_{B}.raw\n", "good-again": good + good, "good-best-before": good + f"{A}  BEST-BEFORE-2024-05-01\n",
        "good-no-date": good + f"{A}  BEST-BEFORE-2024-13-01\n{A}  sub/BEST-BEFORE-2024-01-01\n", "good-255": f"{A}  {255 * 'x'}\n", "bad-256": f"{A}  {256 * 'x'}\n",
        "bad-short": good + "x\n", "bad-blank": good + "\n" + good, "bad-escape": "\\" + good, "bad-digit": "g" + good[1:], "bad-tab": good.replace("  ", "\t "), "bad-65": "a" + good,
        "bad-marker": good.replace("  ", " x"), "bad-cut": good[:-1], "bad-no-name": f"{A}  \n{good}", "bad-absolute": f"{A}  /x\n", "bad-up": f"{A}  a/../x\n", "bad-percent": f"{A}  a%62\n",
        "bad-cr": good.replace("\n", "\r\n"), "bad-nul": good + "\0", "bad-twice": good + good.replace("a", "b", 1), "bad-bom": "\ufeff" + good}.items():
    keep("sysupdate_manifest", name, text.encode())
keep("sysupdate_manifest", "bad-text", good.encode() + b"\xff\n")

# payloads: each format whole, several in a row, cut off, damaged, with something behind it, and larger than is allowed
def packed(program, content):
    return subprocess.run(program.split(), input=content, stdout=subprocess.PIPE, check=True).stdout


plain, zeros = bytes((i // 7 ^ i >> 3) & 255 for i in range(3000)), bytes((4 << 20) + 1)
skipped = struct.pack("<II5s", 0x184d2a51, 5, b"words")
keep("sysupdate_payload", "good-raw", plain)
for length in range(6):
    keep("sysupdate_payload", f"good-raw-{length}", plain[1:1 + length])
formats = {"xz": lzma.compress, "gz": lambda c: gzip.compress(c, mtime=0), "bz2": bz2.compress,
           "zst": lambda c: packed("zstd -q -c --check", c), "lz4": lambda c: packed("lz4 -q -c", c)}
for name, pack in formats.items():
    whole = pack(plain)
    middle = len(whole) // 2
    for text, content in {"good": whole, "good-empty": pack(b""), "good-two": whole + pack(b"more"), "bad-cut": whole[:-1], "bad-half": whole[:middle], "bad-magic": whole[:6],
                          "bad-garbage": whole + b"garbage", "bad-sum": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:], "bad-large": pack(zeros)}.items():
        if len(content) < 16384:             # what fuzzing reads at most
            keep("sysupdate_payload", f"{text}-{name}", content)
keep("sysupdate_payload", "good-padded-xz", formats["xz"](plain) + bytes(8) + formats["xz"](plain) + bytes(4))
keep("sysupdate_payload", "bad-padded-xz", formats["xz"](plain) + bytes(5))
keep("sysupdate_payload", "good-blocks-xz", packed("xz -c -T2 --block-size=1000", plain))
keep("sysupdate_payload", "good-skipped-zst", skipped + skipped + formats["zst"](plain))
keep("sysupdate_payload", "good-skipped-lz4", skipped + formats["lz4"](plain))
keep("sysupdate_payload", "bad-skipped-raw", skipped + plain)
keep("sysupdate_payload", "bad-skipped-cut", skipped[:-1])
keep("sysupdate_payload", "bad-window-zst", packed("zstd -q -c --ultra --long=28", plain))


# archives: one of each member in each form, and each way that leads out of the tree
def archive(*members, form=tarfile.USTAR_FORMAT, **options):
    to = io.BytesIO()
    with tarfile.open(fileobj=to, mode="w", format=form, **options) as tar:
        for name, kind, more in members:
            info = tarfile.TarInfo(name)
            info.type, info.mtime, info.mode = kind, 1, 0o755
            content = more if isinstance(more, bytes) else b""
            info.size = len(content)
            if isinstance(more, str):
                info.linkname = more
            if isinstance(more, dict):
                info.pax_headers = more
            if isinstance(more, tuple):
                info.devmajor, info.devminor = more
            tar.addfile(info, io.BytesIO(content))
    # the end is a kilobyte; more is of no use here
    content = to.getvalue().rstrip(b"\0")
    return content + bytes(-len(content) % 512 + 1024)


FILE, DIR, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
each = [("dir", DIR, None), ("dir/file", FILE, b"content"), ("dir/hard", HARD, "dir/file"), ("soft", LINK, "../outside/file"), ("fifo", tarfile.FIFOTYPE, None), ("new/deep/file", FILE, plain[:600])]
long = [("d" * 90 + "/" + "f" * 150, FILE, b"x"), ("soft", LINK, "y" * 200)]
attributes = ("file", FILE, {"SCHILY.xattr.user.note": "x=y", "SCHILY.acl.access": "user::rwx,group::r-x,other::r--", "mtime": "1.5", "uid": "7"})
def sparse(size, *numbers, data=plain[:600]):
    """A file with holes in the form 1.0 of GNU tar."""
    text = "".join(f"{n}\n" for n in numbers).encode()
    content = text + bytes(-len(text) % 512) + data
    to = io.BytesIO()
    with tarfile.open(fileobj=to, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("GNUSparseFile.1/sp")
        info.size, info.mtime = len(content), 1
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "sp", "GNU.sparse.realsize": str(size)}
        tar.addfile(info, io.BytesIO(content))
    content = to.getvalue().rstrip(b"\0")
    return content + bytes(-len(content) % 512 + 1024)


for name, content in {
        "good-ustar": archive(*each), "good-gnu": archive(*each, *long, form=tarfile.GNU_FORMAT), "good-pax": archive(*each, *long, attributes, form=tarfile.PAX_FORMAT),
        "good-global": archive(*each, form=tarfile.PAX_FORMAT, pax_headers={"comment": "all"}), "good-empty": b"", "good-end": bytes(1024), "good-slash": archive(("/file", FILE, b"x"), ("./a/./b", FILE, b"y")),
        "good-again": archive(("a", FILE, b"x"), ("a", LINK, ".."), ("a", FILE, b"y")), "good-top": archive((".", DIR, None), ("a", FILE, b"x")),
        "devices": archive(("null", tarfile.CHRTYPE, (1, 3)), ("block", tarfile.BLKTYPE, (7, 0))),
        "bad-up": archive(("../outside/new", FILE, b"x")), "bad-up-inside": archive(("a/../../outside/file", FILE, b"x")), "bad-up-directory": archive(("..", DIR, None)),
        "bad-through-link": archive(("a", LINK, "../outside"), ("a/file", FILE, b"x")), "bad-directory-through-link": archive(("a", LINK, ".."), ("a/outside", DIR, None)),
        "bad-link-through-link": archive(("a", LINK, ".."), ("b", HARD, "a/outside/file")), "bad-hard-link-up": archive(("a", HARD, "../outside/file")),
        "bad-hard-link": archive(("a", HARD, "nothing")), "bad-no-name": archive(("./", FILE, b"x")), "bad-over-directory": archive(("a/b", FILE, b"x"), ("a", FILE, b"y")),
        "bad-cut": archive(*each)[:1500], "bad-half": archive(("a", FILE, plain))[:1024], "bad-sparse": archive(("a", FILE, {"GNU.sparse.major": "1"}), form=tarfile.PAX_FORMAT),
        "good-sparse": sparse(9000, 2, 100, 500, 8000, 100), "good-hole": sparse(1 << 20, 0, data=b""), "good-sparse-end": sparse(8192, 2, 0, 600, 8192, 0),
        "bad-sparse-count": sparse(9000, 1 << 60, 0, 600), "bad-sparse-over": sparse(9000, 2, 0, 500, 499, 100), "bad-sparse-order": sparse(9000, 2, 4096, 500, 0, 100),
        "bad-sparse-beyond": sparse(9000, 1, 8401, 600), "bad-sparse-overflow": sparse((1 << 64) - 1, 1, (1 << 64) - 1, 600), "bad-sparse-digits": sparse(9000, 1, "+0", 600),
        "bad-sparse-data": sparse(9000, 1, 0, 601), "bad-sparse-cut": sparse(9000, 2, 0, 600), "bad-sparse-size": sparse(1 << 62, 1, 0, 600),
        "bad-size": archive(("a", FILE, {"size": "8589934592"}), form=tarfile.PAX_FORMAT), "bad-record": archive(("a", FILE, {"x": "y"}), form=tarfile.PAX_FORMAT).replace(b"6 x=y\n", b"9 x=y\n"),
        "bad-kind": archive(("a", b"Z", None)), "bad-text": plain}.items():
    keep("sysupdate_archive", name, content)


# disks: a table of four entries with 512 or 4096 bytes in a sector, of which 512 are kept; whole, and damaged in each field of a header
def disk(sectors=10, entries=4, **fields):
    first, last = 2 + (entries * 128 + 511) // 512, sectors - 2 - (entries * 128 + 511) // 512
    root = bytes.fromhex("e3bc684fcde8b14d96e7fbcaf984b709")
    array = b"".join(root + bytes([n + 1]) * 16 + struct.pack("<QQQ", first + n, first + n, 1 << 60) + name.encode("utf-16-le").ljust(72, b"\0")
                     for n, name in enumerate(("_empty", "root_1", "M\u00e4rchen"))).ljust(entries * 128, b"\0")
    def header(at, other, place, change):
        values = {"signature": b"EFI PART", "revision": 0x10000, "size": 92, "at": at, "other": other, "first": first, "last": last, "place": place, "count": entries, "length": 128, **change}
        v = values
        return struct.pack("<8sIIIIQQQQ16sQIII", v["signature"], v["revision"], v["size"], 0, 0, v["at"], v["other"], v["first"], v["last"], bytes(range(16)), v["place"], v["count"], v["length"], 0).ljust(512, b"\0")
    pad = lambda content: content + bytes(-len(content) % 512)
    image = bytearray(512 * sectors)
    image[510:512] = b"\x55\xaa"
    image[512:1024], image[1024:1024 + len(pad(array))] = header(1, sectors - 1, 2, fields.get("primary", {})), pad(array)
    image[(last + 1) * 512:] = pad(array) + header(sectors - 1, 1, last + 1, fields.get("backup", {}))
    return bytes(image)


FIX, LARGE, KNOWN = 4, 1, 2
for name, how in {"small": FIX, "known": FIX | KNOWN, "large": FIX | LARGE, "large-known": FIX | LARGE | KNOWN}.items():
    keep("sysupdate_disk", "good-" + name, bytes([how]) + disk())
    keep("sysupdate_disk", "good-primary-" + name, bytes([how]) + disk(backup={"signature": b"EFI PARX"}))
    keep("sysupdate_disk", "good-backup-" + name, bytes([how]) + disk(primary={"signature": b"EFI PARX"}))
keep("sysupdate_disk", "good-longer", bytes([FIX]) + disk() + bytes(1024))
keep("sysupdate_disk", "good-most", bytes([FIX]) + disk(12, 8))
keep("sysupdate_disk", "bad-sums", bytes([0]) + disk())
keep("sysupdate_disk", "bad-cut", bytes([FIX]) + disk()[:-1024])
keep("sysupdate_disk", "bad-none", bytes([FIX]) + bytes(4096))
keep("sysupdate_disk", "bad-empty", b"")
bad = {"signature": b"EFI PARX"}
for field, values in {"at": (0, 2), "other": (0, 2, 5, 1 << 63), "first": (0, 2, 1 << 40), "last": (0, 1 << 40, 9), "place": (0, 1, 5, (1 << 64) - 1), "count": (0, 5000, 0xffffffff), "length": (0, 64, 256), "size": (0, 91, 4096)}.items():
    for value in values:
        keep("sysupdate_disk", f"odd-primary-{field}-{value}", bytes([FIX]) + disk(primary={field: value}, backup=bad))
        keep("sysupdate_disk", f"odd-backup-{field}-{value}", bytes([FIX]) + disk(primary=bad, backup={field: value}))
