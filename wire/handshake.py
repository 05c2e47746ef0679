"""Which version two peers speak, settled by the first frame of each side: the lower of their two, if both
still know it.

Sans-io. A refusal says which side is older and what to do; it is the sentence that people read when half of
an installation was upgraded.
"""

from __future__ import annotations

from wire.messages import OLDEST_PROTOCOL, PROTOCOL, Goodbye, Hello, LinkKind, Message, Welcome


class Refused(Exception):
    """The link cannot begin. ``args[0]`` is a sentence for people."""


def judge(
    first: Message, product: str, *, protocol: int = PROTOCOL, oldest: int = OLDEST_PROTOCOL
) -> tuple[Hello, Welcome]:
    """What the side that was dialled makes of the first frame: the Hello, and the Welcome to send once its
    secret is proved.

    ``product`` names this side with its version ("mirror-run 0.1.0"). Refused: tell the peer its sentence in
    a Goodbye.
    """
    if not isinstance(first, Hello):
        raise Refused(f"a link begins with Hello, not with {type(first).__name__}")
    if first.oldest > first.protocol:
        raise Refused(
            f"{first.product} says it speaks protocol {first.protocol} and none before {first.oldest}"
        )
    if first.kind not in tuple(LinkKind):
        raise Refused(f"{first.product} asks for a link of the unknown kind {first.kind}")
    spoken = min(protocol, first.protocol)
    if spoken < oldest:
        raise Refused(_older(first.product, first.protocol, product, oldest))
    if spoken < first.oldest:
        raise Refused(_older(product, protocol, first.product, first.oldest))
    return first, Welcome(protocol=spoken, product=product)


def welcomed(first: Message, hello: Hello) -> Welcome:
    """What the side that dialled makes of the answer. Refused with the peer's own sentence, or with ours."""
    match first:
        case Welcome() if hello.oldest <= first.protocol <= hello.protocol:
            return first
        case Welcome():
            raise Refused(
                f"{first.product} answered with protocol {first.protocol}, "
                f"but {hello.product} speaks {hello.oldest} to {hello.protocol}"
            )
        case Goodbye():
            raise Refused(first.reason or "the other side refused the link without a reason")
        case _:
            raise Refused(f"the answer to Hello is Welcome, not {type(first).__name__}")


def _older(older: str, speaks: int, newer: str, needs: int) -> str:
    return (
        f"{older} is older than {newer}: it speaks protocol {speaks}, and {newer} needs {needs} at least. "
        f"Upgrade {older}, or use the {newer.split(' ')[0]} of its release."
    )
