"""Every message that crosses a border of mirror-run, one frozen record each.

A message is sent as a frame (``wire.frames``): a u32 big-endian length and one msgpack array, whose first
element is the message's integer tag and whose further elements are the dataclass's fields in order. New
fields go last and have defaults; a reader ignores trailing fields that it does not know. A tag is never used
twice.

Conventions: an address is ``bytes`` of 4 (IPv4) or 16 (IPv6) octets in network order; a port is 0..65535; an
``errno`` is Linux's number (asm-generic); ``call`` ties an answer to its question and is chosen by who asks,
ascending from 1.
"""

from __future__ import annotations

from dataclasses import field
from enum import IntEnum
from typing import ClassVar

from wire.kinds import (
    U8,
    U32,
    U64,
    Argument,
    Chunk,
    Errno,
    FileBody,
    Ip,
    IpOrNone,
    Level,
    Name,
    PathText,
    PortNumber,
    Prefix,
    Regex,
    Secret,
    Sentence,
)
from wire.record import record

PROTOCOL = 1
"""The version this code speaks. Two peers speak the lower of their two versions, if both still know it."""

OLDEST_PROTOCOL = 1
"""The oldest version this code still speaks."""


class LinkKind(IntEnum):
    """What a link carries, said in its first frame. FILES is a data link for channels FILES and UNIX alone, beside the
    first; an agent may refuse it, and these go by the first then.
    """

    CONTROL = 1
    DATA = 2
    FILES = 3


class Proto(IntEnum):
    """IANA protocol numbers of what a port belongs to."""

    TCP = 6
    UDP = 17


class FilesMode(IntEnum):
    """What of the target's files a session serves to its app."""

    NONE = 0
    READ = 1
    WRITE = 2  # where the agent allows it


class ChannelKind(IntEnum):
    """What a channel of a data link carries."""

    TCP = 1  # bridge to agent: connect from inside the target
    UDP = 2  # bridge to agent: one association of an app's socket
    ECHO = 3  # bridge to agent: ICMP echo, one association for each identifier
    FILES = 4  # bridge to agent: the target's files, in FUSE's own words (native/files_words.h)
    MIRROR_TCP = 17  # agent to bridge: a copied connection of a client of the target
    MIRROR_UDP = 18  # agent to bridge: copied datagrams of one client
    STEAL_TCP = 19  # agent to bridge: a client's connection, which the app answers
    UNIX = (
        22  # bridge to agent: a Unix socket of the target's that FILES has connected (native/files_words.h)
    )


class Message:
    """What all messages share: a tag."""

    __slots__ = ()
    TAG: ClassVar[int] = 0


# --- parts: nested arrays without a tag ---------------------------------------------------------------------


@record
class Address:
    """An address of an interface: ``ip`` 4 or 16 octets, ``prefix`` in bits."""

    ip: Ip
    prefix: Prefix


@record
class Port:
    """A port on which a program accepts: ``proto`` is a ``Proto``. ``loopback`` when only 127.0.0.0/8 or ::1
    reaches it.
    """

    proto: U8
    port: PortNumber
    loopback: bool = False


@record
class AppPort:
    """A port of the app and the port of the target whose traffic it wants. ``declared``: the target need not
    listen.
    """

    proto: U8
    app: PortNumber
    target: PortNumber
    declared: bool = False


@record
class Identity:
    """Who the target is on its network. ``hosts`` and ``resolv_conf`` are its files, whole (at most 1 MiB
    each).
    """

    hostname: Name
    addresses: tuple[Address, ...]
    hosts: FileBody
    resolv_conf: FileBody


@record
class User:
    """Who the app runs as. An empty ``name`` means: no passwd entry is written; an empty ``home``: HOME is
    left alone.
    """

    uid: U32
    gid: U32
    groups: tuple[U32, ...] = ()
    name: Name = ""
    home: PathText = ""


@record
class Counters:
    """What was mirrored and stolen, since the session began. ``dropped``: connections ended because the app or the link
    was slower. ``limited``: connections not shown, or not to their end, and datagrams, because of the session's rate.
    """

    connections: U64 = 0
    bytes: U64 = 0
    datagrams: U64 = 0
    joined: U64 = 0  # connections older than the session, joined at a request boundary
    skipped: U64 = 0  # connections older than the session that cannot be joined (TLS, upgraded, not HTTP/1)
    dropped: U64 = 0
    lost_packets: U64 = 0  # packets the kernel could not put into the ring
    limited: U64 = 0
    stolen: U64 = 0  # connections, or parts of them, that were the app's to answer
    stolen_bytes: U64 = 0  # of those, both ways


@record
class Condition:
    """What a request is asked: ``what`` is 0 a header, as "Name: value", 1 the path with its query, 2 the method.
    ``regex``: found anywhere in it; a header's without regard to case.
    """

    what: U8
    regex: Regex


@record
class Filter:
    """A request matches when all of these hold."""

    conditions: tuple[Condition, ...]


@record
class Probe:
    """A probe of the target by its node: ``kind`` 0 HTTP, 1 TCP, 2 gRPC. ``path``: HTTP's path, gRPC's service."""

    port: PortNumber
    kind: U8
    path: PathText = ""


# --- the first frames of every link to an agent -------------------------------------------------------------


@record
class Hello(Message):
    """First frame, from whoever dialled. ``secret`` (32 octets) proves the session; a runner's makes it.
    Since 1.

    A founder that comes again with the same secret takes its session over: the link before it was cut.
    ``resumes``, on a data link: go on where the link before was cut; ``received`` octets of it have come here.
    """

    TAG: ClassVar[int] = 1
    protocol: U32
    oldest: U32
    product: Name
    kind: U8
    session: Name
    secret: Secret = field(repr=False)
    author: Name = ""
    founder: bool = False  # the runner's link: the session lives as long as it does, and ``patience`` longer
    namespace: Name = ""  # of the MirrorSession named ``session``; empty where there are no such objects
    patience: U32 = 0  # seconds that the session outlives its founder's link, if the agent grants as many
    keeps: bool = False  # a data link that may be resumed: both ends keep what is not acknowledged
    resumes: bool = False
    received: U64 = 0
    mirror_rate: U64 = (
        0  # a founder's: octets of copies for each second at most, in each agent; 0: no limit of its own
    )


@record
class Welcome(Message):
    """The agent's answer: ``protocol`` is the version both now speak. Since 1.

    To a Hello that ``resumes``: whether it does. If so, ``received`` octets of the link have come to the agent,
    and both sides go on from there; if not, this is a new link and every channel of the old one is gone.
    To a founder: whether it took over a session that was there; if not, this is a new one, which knows no target.
    """

    TAG: ClassVar[int] = 2
    protocol: U32
    product: Name
    resumed: bool = False
    received: U64 = 0


@record
class Goodbye(Message):
    """The last frame of a link that ends for a reason: a sentence for people. Either side. Since 1."""

    TAG: ClassVar[int] = 3
    reason: Sentence


@record
class Failure(Message):
    """The answer to a call that could not be done: ``reason`` is a sentence, ``errno`` 0 if the kernel had no
    part. Since 1.
    """

    TAG: ClassVar[int] = 4
    call: U32
    reason: Sentence
    errno: Errno = 0


@record
class Done(Message):
    """The answer to a call that has nothing to tell but that it is done. ``octets``: a Ping's, back again. Since 1."""

    TAG: ClassVar[int] = 5
    call: U32
    octets: Chunk = b""


@record
class Ping(Message):
    """Are you there? Either side, control links. ``octets`` come back with the answer, so that whoever asks can measure
    what the way carries. Since 1."""

    TAG: ClassVar[int] = 6
    call: U32
    octets: Chunk = b""


# --- control: runner or bridge to agent ---------------------------------------------------------------------


@record
class Attach(Message):
    """Runner: take part in this container. ``target`` is the index the runner gives it (0 is the primary).
    Since 1.

    The same index again means: the container was restarted, its process and namespaces are new. Answer:
    Attached.
    """

    TAG: ClassVar[int] = 10
    call: U32
    target: U32
    container: Name  # the full id: 64 hexadecimal digits
    pod: Name = ""  # its pod's name, in the namespace of the session's object


@record
class Attached(Message):
    """Agent: found; ``pid`` is the container's first process as the agent's pid namespace numbers it. Since
    1.
    """

    TAG: ClassVar[int] = 11
    call: U32
    target: U32
    pid: U32
    identity: Identity
    mounts: tuple[PathText, ...] = ()  # where it has volumes, secrets, config maps


@record
class Detach(Message):
    """Runner: leave this target; its mirrored connections end. Answer: Done. Since 1."""

    TAG: ClassVar[int] = 12
    call: U32
    target: U32


@record
class GetEnviron(Message):
    """Runner: the environment of the target's process. Answer: Environ. Since 1."""

    TAG: ClassVar[int] = 13
    call: U32
    target: U32


@record
class Environ(Message):
    """Agent: ``variables`` are b"NAME=value" as /proc/PID/environ has them (proc(5)); ``cwd`` of the process.
    Since 1.
    """

    TAG: ClassVar[int] = 14
    call: U32
    variables: tuple[Argument, ...] = field(repr=False)
    cwd: PathText


@record
class Listening(Message):
    """Bridge: the app accepts on these and wants the traffic of the target's ports; replaces what was said
    before. Since 1.
    """

    TAG: ClassVar[int] = 15
    ports: tuple[AppPort, ...]


@record
class Mirroring(Message):
    """Agent, a notice to the founder: these ports of this target are mirrored from now on. Since 1."""

    TAG: ClassVar[int] = 16
    target: U32
    ports: tuple[AppPort, ...]


@record
class TargetGone(Message):
    """Agent, a notice to the founder: the target's process ended. Attach the same index again when it is
    back. Since 1.
    """

    TAG: ClassVar[int] = 17
    target: U32


@record
class GetCounters(Message):
    """Runner: what was mirrored so far. Answer: CountersAre. Since 1."""

    TAG: ClassVar[int] = 18
    call: U32


@record
class CountersAre(Message):
    """Agent: the answer to GetCounters. Since 1."""

    TAG: ClassVar[int] = 19
    call: U32
    counters: Counters


@record
class Steal(Message):
    """Runner: TCP ports are stolen, not mirrored, in all targets of the session; replaces what was said before.
    Answer: Done. Since 1.

    ``filters``: requests that match any of them; without any, whole ports. ``on_app_gone``: of a request that the
    app was given and did not answer, 0 to the target if nothing was sent to it, 1 answer 502, 2 reset.
    ``link_lost_after``: milliseconds that such a request waits for a link that is cut. ``drain``: seconds that the
    target's other connections may go on through the agent when nothing is stolen any more. ``nodes``, ``probes``: of
    the target's own probes, which stay with the target unless ``steal_probes``. ``mesh_uids``: user ids of a mesh's
    proxies, which bring over loopback what comes from outside, beside Istio's and Linkerd's.
    """

    TAG: ClassVar[int] = 20
    call: U32
    filters: tuple[Filter, ...] = ()
    on_app_gone: U8 = 0
    link_lost_after: U32 = 5000
    drain: U32 = 600
    steal_probes: bool = False
    steal_local: bool = False  # also what comes over the target's loopback interface
    steal_existing: bool = (
        False  # connections that were open before are closed, so that their clients come again
    )
    nodes: tuple[Ip, ...] = ()
    probes: tuple[Probe, ...] = ()
    mesh_uids: tuple[U32, ...] = ()


@record
class Stealing(Message):
    """Agent, a notice to the founder: these ports of this target are stolen from now on. ``refused``: why others, that
    the app wants, are not. Since 1.
    """

    TAG: ClassVar[int] = 21
    target: U32
    ports: tuple[AppPort, ...]
    refused: Sentence = ""


@record
class Stolen(Message):
    """Agent, a notice to the founder: what came to this port of this target since it is stolen, once a second at most.
    Since 1.

    ``seen``: requests that the filters were asked about; ``matched`` of them; ``stolen``: connections of which the app
    got something; ``older``: connections that were open before, and are the target's; ``tls``: connections that are
    encrypted; ``last``: the last request's first line.
    """

    TAG: ClassVar[int] = 22
    target: U32
    port: PortNumber
    seen: U64 = 0
    matched: U64 = 0
    stolen: U64 = 0
    older: U32 = 0
    tls: U64 = 0
    last: Sentence = ""


@record
class Choose(Message):
    """Runner: of TCP connections that are mirrored only HTTP requests that match any of these filters are copied, in
    all targets of the session; what is no HTTP, or encrypted, is not. Without any: everything again. Replaces what was
    said before; connections that are open are copied anew from their next request on. Datagrams are not chosen.
    Answer: Done. Since 1.
    """

    TAG: ClassVar[int] = 24
    call: U32
    filters: tuple[Filter, ...] = ()


@record
class Chosen(Message):
    """Agent, a notice to the founder: what the filters saw of this port of this target, once a second at most. Since 1.

    ``seen``: requests; ``matched`` of them, which were copied; ``tls``: connections that are encrypted; ``other``:
    those that are no HTTP, or not to be read without a doubt from some octet on; ``last``: the last request's first
    line.
    """

    TAG: ClassVar[int] = 25
    target: U32
    port: PortNumber
    seen: U64 = 0
    matched: U64 = 0
    tls: U64 = 0
    other: U64 = 0
    last: Sentence = ""


@record
class LetGo(Message):
    """Runner: nothing more is to be stolen. Answer: Done, when the app has answered what it was given, or after
    ``within`` milliseconds. Since 1.
    """

    TAG: ClassVar[int] = 23
    call: U32
    within: U32


@record
class LookAtStealing(Message):
    """Runner: what would stand in the way of stealing from this target? Its clients notice nothing. Answer:
    StealingLooked. Since 1.
    """

    TAG: ClassVar[int] = 28
    call: U32
    target: U32


@record
class StealingLooked(Message):
    """Agent: ``refused`` is why it could not begin, ``taken`` whose it is already; both are empty if it could begin
    now. Since 1.
    """

    TAG: ClassVar[int] = 29
    call: U32
    refused: Sentence = ""
    taken: Sentence = ""


# --- runner and bridge, on the bridge's stdin and stdout ----------------------------------------------------


@record
class Configure(Message):
    """Runner: everything the bridge needs, once. Answer: Configured or Failure. Since 1."""

    TAG: ClassVar[int] = 32
    call: U32
    session: Name
    secret: Secret = field(repr=False)
    agent_socket: PathText
    identity: Identity
    argv: tuple[Argument, ...]
    environ: tuple[Argument, ...] = field(repr=False)
    user: User
    cwd: PathText
    mapped: tuple[AppPort, ...] = ()  # --map-port
    ignored: tuple[PortNumber, ...] = ()  # --ignore-port
    declared: tuple[Port, ...] = ()  # ports the target's image or configuration names
    log_level: Level = 30  # as of Python's logging
    keeps: bool = False  # the way to agents may be cut: data links are resumed
    files: U8 = 0  # a FilesMode
    rules: FileBody = b""  # whose a path is (runner/files/rules.py); empty: no layer
    files_optional: bool = (
        False  # nobody asked for files: where they cannot be had there are none (FilesRefused)
    )


@record
class Configured(Message):
    """Bridge: tun0, rules, links and the door are ready; the app may start. Since 1."""

    TAG: ClassVar[int] = 33
    call: U32


@record
class Retarget(Message):
    """Runner: the primary has a new identity (restarted elsewhere). Answer: Done. Since 1.

    What the app opens from now on goes out by ``agent``, from its ``target``.
    """

    TAG: ClassVar[int] = 34
    call: U32
    identity: Identity
    agent: U32 = 0
    target: U32 = 0


@record
class AppListens(Message):
    """Bridge, a notice: what the app accepts on, whether or not it is anybody's traffic. Since 1."""

    TAG: ClassVar[int] = 35
    ports: tuple[Port, ...]


@record
class LinkLost(Message):
    """Bridge, a notice: a link to this agent was cut; it is dialled again, and the app keeps running. Since 1."""

    TAG: ClassVar[int] = 36
    reason: Sentence
    agent: U32 = 0
    data: bool = False  # the data link; else the control link


@record
class LinkBack(Message):
    """Bridge, a notice: a link to this agent is up again. Since 1.

    ``resumed``: a data link that lost nothing; otherwise its connections were reset.
    """

    TAG: ClassVar[int] = 37
    agent: U32
    data: bool
    resumed: bool = False


@record
class AddAgent(Message):
    """Runner: there is one more agent, behind this socket of the bridge's. Answer: Done, once both links are up, or
    Failure. Agent 0 is Configure's. Since 1.
    """

    TAG: ClassVar[int] = 38
    call: U32
    agent: U32
    socket: PathText


@record
class RemoveAgent(Message):
    """Runner: this agent is needed no more; its links end, its connections are reset. Answer: Done. Since 1."""

    TAG: ClassVar[int] = 39
    call: U32
    agent: U32


@record
class FilesRefused(Message):
    """Bridge, a notice: the target's files cannot be had, and why. Since 1."""

    TAG: ClassVar[int] = 40
    reason: Sentence


@record
class GetFiles(Message):
    """Runner: what did the app have of the target's files? Answer: FilesRead. Since 1."""

    TAG: ClassVar[int] = 41
    call: U32


@record
class FilesRead(Message):
    """Bridge. ``files`` were opened and are told apart; ``octets`` of content came from the target. Since 1."""

    TAG: ClassVar[int] = 42
    call: U32
    files: U64 = 0
    octets: U64 = 0
    without_layer: U32 = 0  # programs that ran without the layer and without what stands in for it


# --- mirror-init and bridge, on the door --------------------------------------------------------------------


@record
class InitHello(Message):
    """mirror-init, first: I am the app container's first process. Answer: Start. Since 1."""

    TAG: ClassVar[int] = 48
    protocol: U32


@record
class Start(Message):
    """Bridge: execute ``argv`` as ``user`` in ``cwd`` with ``environ`` added to the container's own. Since 1.

    A variable that is a name without "=" is taken out of the container's own instead.
    After it nothing more is said; the end of this connection is the end of the app.
    """

    TAG: ClassVar[int] = 49
    argv: tuple[Argument, ...]
    environ: tuple[Argument, ...] = field(repr=False)
    user: User
    cwd: PathText
    rules: FileBody = b""  # the layer's file of rules (layer/preload/rules.h); empty: no layer


# --- data links: C at both ends -----------------------------------------------------------------------------


@record
class Open(Message):
    """Either side: a new channel. Since 1.

    ``window``: octets the speaker takes before it grants more. TCP: ``source`` is the app's socket,
    ``destination`` what it connects to. UDP and ECHO: ``destination`` is not used (empty, port 0); ECHO's
    ``source_port`` is the identifier. FILES: neither is used, ``source`` is 0.0.0.0. MIRROR_*, STEAL_TCP: ``source``
    is the real client, ``destination`` the target's address and the *app's* port (mapping applied).
    """

    TAG: ClassVar[int] = 64
    channel: U32
    kind: U8
    window: U32
    source: Ip
    source_port: PortNumber
    destination: IpOrNone
    destination_port: PortNumber
    target: U32 = 0


@record
class Opened(Message):
    """The acceptor: it is connected. Since 1."""

    TAG: ClassVar[int] = 65
    channel: U32
    window: U32


@record
class Data(Message):
    """At most 65,536 octets of a stream. Since 1."""

    TAG: ClassVar[int] = 66
    channel: U32
    payload: Chunk


@record
class Grant(Message):
    """The receiver has passed on ``octets`` more; the window grows by as much. Since 1."""

    TAG: ClassVar[int] = 67
    channel: U32
    octets: U32


@record
class Eof(Message):
    """The speaker sends no more on this channel (TCP's FIN). Since 1."""

    TAG: ClassVar[int] = 68
    channel: U32


@record
class Reset(Message):
    """The channel is gone. Before Opened: it could not be opened. ``errno``: why (ECONNRESET for TCP's RST).
    Since 1.
    """

    TAG: ClassVar[int] = 69
    channel: U32
    errno: Errno


@record
class Datagram(Message):
    """One datagram, whole. UDP: ``port`` is the peer's; ECHO: the sequence number. Since 1."""

    TAG: ClassVar[int] = 70
    channel: U32
    peer: IpOrNone
    port: PortNumber
    payload: Chunk


@record
class Unreachable(Message):
    """Agent: a datagram to this peer met an error (ICMP, or the pod's own routes). Since 1."""

    TAG: ClassVar[int] = 71
    channel: U32
    peer: IpOrNone
    port: PortNumber
    errno: Errno


@record
class Ack(Message):
    """On a link that ``keeps``: so many octets of the peer's, since the link's Welcome, have come. Since 1.

    Sent with what is granted, after a MiB at the latest, and every 5 s whatever came: a dead link is known by silence.
    """

    TAG: ClassVar[int] = 72
    received: U64
