"""Files as Python reads them: what it prints is the same in the target and as the app."""

import glob
import hashlib
import importlib
import mmap
import os
import pathlib
import shutil
import sqlite3
import stat
import sys

DATA = "/srv/data"

sys.path.insert(0, "/srv/py")
print("import", importlib.import_module("shop").ANSWER)
with open(f"{DATA}/large", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
    print("mmap", hashlib.sha256(mapped).hexdigest(), mapped.find(b"\x00\x01"))
with os.scandir(DATA) as entries:
    for one in sorted(entries, key=lambda entry: entry.name):
        found = one.stat(follow_symlinks=False)
        print("scandir", ascii(one.name), one.is_dir(), one.is_symlink(), oct(found.st_mode), found.st_size, found.st_mtime_ns)
print("pathlib", sorted(str(path) for path in pathlib.Path(DATA).rglob("one")), pathlib.Path(f"{DATA}/link").resolve())
print("walk", [(folder, sorted(map(ascii, names))) for folder, _, names in sorted(os.walk(os.fsencode(DATA)))])
print("glob", sorted(map(ascii, glob.glob(f"{DATA}/*e*"))))
with sqlite3.connect(f"file:{DATA}/shop.db?mode=ro", uri=True) as shop:
    print("sqlite", shop.execute("select count(*), sum(price), max(name) from items").fetchone())
print("pread", os.pread(os.open(f"{DATA}/lines", os.O_RDONLY), 10, 100))
for path in (f"{DATA}/none", f"{DATA}/dangling", f"{DATA}/short/below", "/srv/data/lines/"):
    try:
        os.stat(path)
        print("stat", path)
    except OSError as error:
        print("stat", path, error.errno)
os.chdir(f"{DATA}/deep/er")
print("cwd", os.getcwd(), os.path.realpath("still/.."), os.listdir("."), pathlib.Path("still/one").read_text())
folder = os.open("..", os.O_RDONLY | os.O_DIRECTORY)
print("dirfd", os.listdir(folder), stat.S_IMODE(os.stat("er/still/one", dir_fd=folder).st_mode))
print("copytree", sorted(os.listdir(shutil.copytree(f"{DATA}/deep", "/tmp/copy-of-python"))))
shutil.rmtree("/tmp/copy-of-python")
