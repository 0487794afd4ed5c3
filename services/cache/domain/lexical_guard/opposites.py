"""Words that mean the contrary of each other, and of which each question has one."""

from __future__ import annotations

from services.cache.domain.lexical_guard.said import Said, only_in, stem

# One pair of contraries a line; several words on a side mean nearly the same there.
_CONTRARIES = """
enable activate / disable deactivate
on / off
in / out
up / down
allow permit / forbid block ban prohibit deny
accept approve / reject decline refuse deny
increase raise grow rise / decrease reduce lower drop fall cut
more / less fewer
most / least
maximum max / minimum min
higher / lower
high / low
highest / lowest
above over exceed / below under
long longer longest / short shorter shortest
big bigger biggest large larger largest / small smaller smallest
fast faster fastest quick quicker quickest / slow slower slowest
early earlier earliest / late later latest
first / last
before until till by within / after once since beyond
within inside indoor indoors internal / outside outdoor outdoors external beyond
to into onto / from
for / against
few / many
start begin open / stop end finish close
open / close shut
buy purchase / sell
buyer / seller
lend / borrow
lender / borrower
send / receive
sender / recipient receiver
add insert create / remove delete
include inclusive / exclude exclusive
import / export
upload / download
deposit / withdraw
credit / debit
pay / refund
save / spend discard
earn / spend
give / take receive
teach / learn
remember / forget
profit gain / loss
win gain find / lose
pass / fail
success / failure
cheap cheaper cheapest / expensive dear
free / paid
advantage benefit upside pro strength / disadvantage drawback downside con risk weakness
good better best / bad worse worst
right correct true / wrong incorrect false
safe / dangerous unsafe harmful
legal / illegal
positive / negative
easy easier easiest / hard harder hardest difficult
light lighter / heavy heavier dark darker
hot hotter warm warmer / cold colder cool cooler
wet / dry
strong stronger / weak weaker
old older oldest / new newer newest young younger youngest
rich / poor
wide wider / narrow narrower
thick thicker / thin thinner
deep deeper / shallow
full whole / empty part partial half
near nearer nearest close closer closest / far farther farthest further furthest
left / right
top / bottom
upper / lower
front / back rear
north northern / south southern
east eastern / west western
public / private
local domestic / international foreign abroad overseas remote
online / offline
physical / digital virtual
manual / automatic
wired / wireless
arrive arrival / depart departure leave
incoming inbound / outgoing outbound
entry enter entrance / exit leave
login / logout
push / pull
show / hide
visible / hidden invisible
read / write
input / output
encrypt encode / decrypt decode
upgrade / downgrade
pause stop / resume continue
attach / detach
appear / vanish
build / destroy demolish
expand / shrink collapse
hire / fire
active / passive idle
simple / complex complicated
natural / artificial synthetic
absolute / relative
odd / even
ascending ascend / descending descend
mandatory compulsory required obligatory / optional voluntary
temporary / permanent
fixed / variable
gross / net
major / minor
majority / minority
common / rare
same similar / different
always / sometimes
all every each / some
previous former / next latter
past / future
ancient / modern
raw / cooked
fresh / frozen stale
alive / dead
awake / asleep
married / single divorced
single / double multiple joint return
male man men boy husband father son brother / female woman women girl wife mother daughter sister
adult grown-up parent / child children kid kids
employer / employee
landlord / tenant
teacher / student pupil
doctor / patient
host / guest
client / server
question / answer
horizontal / vertical
sunrise / sunset
inhale / exhale
freeze / melt thaw
love like / hate dislike
"""
# What two words have before the same rest: "import" and "export", "overpay" and "underpay".
_PREFIXES = (
    ("in", "ex"), ("im", "ex"), ("in", "de"), ("in", "out"), ("up", "down"), ("over", "under"), ("pre", "post"),
    ("pro", "anti"), ("en", "de"), ("en", "dis"), ("as", "de"), ("hyper", "hypo"), ("macro", "micro"), ("max", "min"),
    ("ante", "post"), ("multi", "single"), ("in", "off"), ("on", "off"),
)  # fmt: skip
_BOTH_WAYS = (*_PREFIXES, *(pair[::-1] for pair in _PREFIXES))
_ANY_PREFIX = tuple({first for first, _ in _BOTH_WAYS})
_LEAST_REST = 3
_NONE: frozenset[str] = frozenset()


def _table() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for line in _CONTRARIES.strip().splitlines():
        left, _, right = line.partition("/")
        sides = [{stem(each) for each in side.split()} for side in (left, right)]
        for these, those in (sides, sides[::-1]):
            for each in these:
                found.setdefault(each, set()).update(those)
    return {each: frozenset(contraries) for each, contraries in found.items()}


_CONTRARY = _table()


def differ(one: Said, other: Said) -> bool:
    """A word that only one has is the contrary of one that only the other has."""
    here, there = only_in(one.stems, other.stems), only_in(other.stems, one.stems)
    return any(_CONTRARY.get(word, _NONE) & there or _turned(word) & there for word in here) if there else False


def _turned(word: str) -> frozenset[str]:
    """The word with the contrary of its prefix."""
    if not word.startswith(_ANY_PREFIX):
        return _NONE
    return frozenset(
        second + word.removeprefix(first)
        for first, second in _BOTH_WAYS
        if word.startswith(first) and len(word) - len(first) >= _LEAST_REST
    )
