"""The messages behind golden.txt: at least one of each, at the edges of its fields.

golden.txt holds, for each, a comment with its readable form and a line ``Name hex`` with the whole frame; the
C tests read the same file. ``python3 -m tests.wire.examples`` writes it anew. A line that changes there is a
broken protocol, unless the message is not released yet; new fields make new lines.
"""

from __future__ import annotations

from pathlib import Path

from wire import frames
from wire.messages import (
    Ack,
    AddAgent,
    Address,
    AppListens,
    AppPort,
    Attach,
    Attached,
    ChannelKind,
    Choose,
    Chosen,
    Condition,
    Configure,
    Configured,
    Counters,
    CountersAre,
    Data,
    Datagram,
    Detach,
    Done,
    Environ,
    Eof,
    Failure,
    FilesMode,
    FilesRead,
    FilesRefused,
    Filter,
    GetCounters,
    GetEnviron,
    GetFiles,
    Goodbye,
    Grant,
    Hello,
    Identity,
    InitHello,
    LetGo,
    LinkBack,
    LinkKind,
    LinkLost,
    Listening,
    LookAtStealing,
    Message,
    Mirroring,
    Open,
    Opened,
    Ping,
    Port,
    Probe,
    Proto,
    RemoveAgent,
    Reset,
    Retarget,
    Start,
    Steal,
    Stealing,
    StealingLooked,
    Stolen,
    TargetGone,
    Unreachable,
    User,
    Welcome,
)

GOLDEN = Path(__file__).with_name("golden.txt")

V4 = bytes([198, 18, 0, 2])
CLIENT4 = bytes([198, 18, 255, 254])
V6 = bytes.fromhex("fd00019800180000000000000000002a")
CLIENT6 = bytes.fromhex("fd000198001800000000000000000001")
SECRET = bytes(range(32))
ID = "0123456789abcdef" * 4

IDENTITY = Identity(
    hostname="api-7c",
    addresses=(Address(V4, 24), Address(V6, 64)),
    hosts=b"127.0.0.1\tlocalhost\n198.18.0.2\tapi-7c\n",
    resolv_conf=b"nameserver 127.0.0.11\noptions ndots:0\n",
)
USER = User(uid=1000, gid=1000, groups=(1000, 27), name="ada", home="/home/ada")
VARIABLES = (b"PATH=/usr/bin:/bin", b"EMPTY=", b"ODD=\xff\xfe")

EXAMPLES: tuple[Message, ...] = (
    Hello(1, 1, "mirror-run 0.1.0", LinkKind.CONTROL, "k7f2", SECRET, "ada@laptop", True),
    Hello(0xFFFFFFFF, 1, "mirror-run bridge 9.0.0", LinkKind.DATA, "k7f2", SECRET),
    Hello(1, 1, "mirror-run 0.1.0", LinkKind.CONTROL, "cart-k7f2", SECRET, "ada", True, "shop", 60),
    Hello(1, 1, "a", LinkKind.CONTROL, "k7f2", SECRET, founder=True, mirror_rate=25_000_000),
    Hello(1, 1, "b", LinkKind.DATA, "k7f2", SECRET, keeps=True, resumes=True, received=0x100000000),
    Welcome(1, "mirror-run agent 0.1.0"),
    Welcome(1, "mirror-run agent 0.1.0", True, 262144),
    Goodbye("the session ended"),
    Goodbye(""),
    Failure(7, "no container with this id runs here", 3),
    Failure(0xFFFFFFFF, "ünmöglich"),
    Done(1, b"\x00what was sent"),
    Ping(128, b"\x00what was sent"),
    Attach(1, 0, ID),
    Attach(2, 1, ID, "cart-7d9c5b6f4-x2x9p"),
    Attached(1, 0, 4194304, IDENTITY),
    Attached(2, 65535, 1, Identity("", (), b"", b"")),
    Detach(3, 2),
    GetEnviron(4, 0),
    Environ(4, VARIABLES, "/srv/app"),
    Environ(5, (), "/"),
    Listening((AppPort(Proto.TCP, 8080, 80), AppPort(Proto.UDP, 53, 53, True))),
    Listening(()),
    Mirroring(0, (AppPort(Proto.TCP, 8080, 80),)),
    TargetGone(255),
    GetCounters(256),
    CountersAre(256, Counters()),
    CountersAre(258, Counters(stolen=0x100000000, stolen_bytes=9)),
    CountersAre(257, Counters(1, 0xFFFFFFFFFFFFFFFF, 0x100000000, 4, 5, 6, 65536, 7)),
    Steal(258),
    Steal(
        259,
        (Filter((Condition(0, "^x-user: ada$"), Condition(1, "^/api/"))), Filter((Condition(2, "POST"),))),
        2,
        0xFFFFFFFF,
        0,
        True,
        True,
        True,
        (V4, V6),
        (Probe(8080, 0, "/healthz"), Probe(9000, 1), Probe(9001, 2, "grpc.health.v1.Health")),
        (101, 0xFFFFFFFF),
    ),
    Stealing(0, (AppPort(Proto.TCP, 8080, 80),)),
    Stealing(255, (), "cart is stolen by anna since 14:02"),
    Stolen(0, 80),
    Stolen(3, 65535, 0xFFFFFFFFFFFFFFFF, 1, 0x100000000, 0xFFFFFFFF, 5, "GET /api/cart HTTP/1.1"),
    Choose(261),
    Choose(0xFFFFFFFF, (Filter((Condition(0, "^x-user: ada$"), Condition(1, "^/api/"))),)),
    Chosen(0, 80),
    Chosen(3, 65535, 0xFFFFFFFFFFFFFFFF, 1, 0x100000000, 5, "GET /api/cart HTTP/1.1"),
    LetGo(260, 3000),
    LookAtStealing(261, 1),
    StealingLooked(261, "no nf_tables here", "cart is stolen by anna"),
    Configure(
        1,
        "k7f2",
        SECRET,
        "/run/mirror-run/agent.sock",
        IDENTITY,
        (b"python3", b"-m", b"http.server"),
        VARIABLES,
        USER,
        "/home/ada/src",
        (AppPort(Proto.TCP, 3000, 80),),
        (9229, 65535),
        (Port(Proto.TCP, 80), Port(Proto.UDP, 53, True)),
        10,
        files=FilesMode.READ,
        files_optional=True,
    ),
    Configure(2, "s", SECRET, "/a", Identity("h", (), b"", b""), (), (), User(0, 0), "/"),
    Configured(1),
    Retarget(65535, IDENTITY),
    Retarget(65536, IDENTITY, 1, 3),
    AppListens((Port(Proto.TCP, 1, True), Port(Proto.TCP, 65535))),
    LinkLost("the agent closed the link"),
    LinkLost("nothing was heard for 15 s", 1, True),
    LinkBack(1, True, True),
    AddAgent(3, 1, "/run/mirror-run/agents/1.sock"),
    RemoveAgent(4, 1),
    FilesRefused("the engine's kernel has no FUSE"),
    GetFiles(5),
    FilesRead(5),
    FilesRead(261, 12, 0x100000000, 2),
    InitHello(1),
    Start((b"/bin/sh", b"-c", b"exit 3"), VARIABLES, USER, "/home/ada/src"),
    Start((b"true",), (), User(0, 0), "/"),
    Open(1, ChannelKind.TCP, 262144, V4, 40000, CLIENT4, 5432),
    Open(0xFFFFFFFF, ChannelKind.MIRROR_TCP, 0xFFFFFFFF, CLIENT6, 65535, V6, 80, 3),
    Open(3, ChannelKind.UDP, 0, V4, 5353, b"", 0),
    Open(5, ChannelKind.ECHO, 0, V6, 4711, b"", 0),
    Open(4, ChannelKind.STEAL_TCP, 262144, CLIENT4, 1, V4, 8080, 1),
    Open(2, ChannelKind.MIRROR_UDP, 0, CLIENT4, 1024, V4, 53),
    Opened(1, 65536),
    Data(1, b"GET / HTTP/1.1\r\n\r\n"),
    Data(127, b""),
    Data(128, bytes(range(256))),
    Grant(1, 65535),
    Grant(65536, 0xFFFFFFFF),
    Eof(1),
    Reset(1, 104),
    Reset(3, 0),
    Datagram(3, CLIENT4, 53, b"\x00\x01"),
    Datagram(5, V6, 65535, b""),
    Datagram(2, b"", 0, b"mirrored"),
    Unreachable(3, CLIENT6, 33434, 113),
    Ack(0),
    Ack(0x100000001),
)


def golden_text() -> str:
    """The whole of golden.txt."""
    lines = [
        "# Whole frames, length word included, as every peer writes and reads them. One a line: Name hex.",
        "# Each follows its readable form. Made by: python3 -m tests.wire.examples",
    ]
    for message in EXAMPLES:
        lines += [f"# {message}", f"{type(message).__name__} {frames.pack(message).hex()}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(golden_text(), encoding="utf-8")
