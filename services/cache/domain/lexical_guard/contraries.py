"""Scales with two poles: of which words, in every form, lie at which.

Written by hand. The antonyms of Princeton WordNet 3.1 were read to find what lacked; none of its data is here.
"""

from __future__ import annotations

from services.cache.domain.lexical_guard.said import by_form, stem

# One scale a line. Several words on a side mean nearly the same there; "turn-off" is "turn off", "turn the light off".
_SCALES = """
enable activate engage start allow unmute turn-on switch-on power-on leave-on left-on keep-on stay-on
    / disable deactivate stop block mute silence suppress remove rid turn-off switch-off shut-off cut-off power-off
    put-out leave-off left-off keep-off stay-off
start begin commence launch initiate open boot start-up boot-up fire-up kick-off power-on power-up turn-on switch-on
    / stop end finish conclude cease halt quit exit terminate abort close cancel shut-down power-off power-down turn-off
    switch-off wrap-up wind-down call-off
resume continue proceed carry-on keep-on
    / pause stop halt cease suspend quit cancel give-up call-off
on onto / off
in into / out
up / down
allow permit authorize authorise legalize grant approve let-in / forbid block ban bar prohibit deny disallow outlaw
    refuse reject restrict revoke stop shut-out lock-out keep-out rule-out
accept approve agree welcome admit / reject decline refuse deny dismiss turn-down
increase raise grow growth rise boost extend lengthen prolong expand enlarge amplify escalate lift climb
    turn-up go-up bring-up bump-up push-up scale-up ramp-up dial-up crank-up step-up put-up build-up
    / decrease reduce reduction lower drop fall cut shorten shrink diminish lessen decline turn-down go-down come-down
    bring-down cut-down cut-back scale-down scale-back ramp-down wind-down collapse dial-down tone-down push-down
gain put-on / lose shed drop
improve enhance better / worsen worse deteriorate degrade
brighten bright brighter / dim dimmer dark darker
strengthen reinforce / weaken undermine
tighten tight / loosen loose
widen broaden / narrow
more / less fewer
most / least
maximum max / minimum min
higher / lower
greater / lesser
high / low
highest / lowest
above over exceed / below under
long longer longest / short shorter shortest
tall taller tallest / short shorter shortest
big bigger biggest large larger largest / small smaller smallest little
fast faster fastest quick quicker quickest rapid accelerate hasten speed-up hurry-up
    / slow slower slowest decelerate slow-down
early earlier earliest / late later latest
advance bring-forward / postpone delay defer put-off push-back
first / last
before until till by within / after once since beyond
within inside indoor indoors internal / outside outdoor outdoors external beyond
to into onto / from
for / against
few / many
login log-in log-on sign-in sign-on / logout log-out log-off sign-out sign-off
join subscribe enrol enroll register enlist sign-up opt-in
    / leave unsubscribe quit cancel withdraw resign drop-out pull-out opt-out
arrive arrival land touch-down / depart departure leave take-off set-off
entry enter entrance come-in go-in get-in move-in let-in / exit leave come-out go-out get-out move-out
board get-on hop-on / alight disembark get-off hop-off hop-out
stay remain / leave depart quit
open / close shut lock seal
create build establish construct set-up open put-up
    / destroy demolish abolish dismantle delete close tear-down take-down pull-down knock-down shut-down
assemble put-together / disassemble dismantle take-apart
keep retain preserve save store hold-on hang-on
    / delete remove discard erase wipe lose destroy scrap dispose dump trash rid throw-away throw-out chuck-out
    give-away give-up let-go
keep retain / change replace swap switch
add insert append create include install introduce put-in
    / remove delete erase subtract deduct exclude omit rid take-away take-out take-off leave-out left-out cut-out
plus / minus
multiply / divide
include inclusive incorporate count-in / exclude exclusive omit skip leave-out left-out count-out
attach connect join link fasten bind plug-in hook-up
    / detach disconnect unplug separate cut-off take-off
merge combine unite join / split separate divide break-up
do-up fasten button-up zip-up tie-up / undo unfasten unbutton unzip untie
wear put-on / remove take-off
buy purchase acquire / sell
buyer / seller
lend / borrow
lender / borrower
send / receive
sender / recipient receiver
deposit pay-in put-in / withdraw withdrawal take-out draw-out
credit / debit
pay / refund
save / spend waste discard squander
earn / spend
give / take receive
teach / learn
remember / forget
profit gain / loss
win gain find / lose defeat
pass succeed / fail flunk
success victory / failure defeat
cheap cheaper cheapest / expensive dear
free / paid
hire employ recruit appoint take-on / fire sack dismiss lay-off let-go
promote / demote
encourage persuade / discourage deter dissuade
support endorse favor favour / oppose
attack / defend
admit confess own-up / deny
confirm affirm prove / deny refute disprove
reward / punish penalize penalise
praise compliment applaud commend / criticize criticise blame condemn scold insult
love like enjoy adore / hate dislike loathe detest
benefit / harm
advantage benefit upside pro strength / disadvantage drawback downside con risk weakness
good better best great beneficial healthy helpful useful
    / bad worse worst terrible awful harmful unhealthy damaging detrimental
right correct true / wrong incorrect false
safe safety harmless / dangerous danger unsafe harmful risky hazardous poisonous toxic
legal / illegal
positive / negative
easy easier easiest / hard harder hardest difficult
simplify / complicate
light lighter / heavy heavier dark darker
hot hotter warm warmer heat heat-up warm-up / cold colder cool cooler chill cool-down
wet rainy / dry
strong stronger / weak weaker
soft softer / hard harder loud louder
loud louder noisy / quiet quieter silent
clean / dirty
old older oldest / new newer newest young younger youngest
rich wealthy wealth / poor poverty
wide wider broad broader / narrow narrower
thick thicker / thin thinner
deep deeper / shallow
sharp / blunt dull
rough / smooth
sweet / sour bitter
happy glad / sad
smart clever / stupid dumb
beautiful pretty / ugly
polite / rude
mild / severe
full whole wholly / empty part partial partly half
fill load fill-up top-up / empty drain
inflate blow-up pump-up / deflate let-down
near nearer nearest close closer closest / far farther farthest further furthest
left / right
top / bottom
upper / lower
inner / outer
front / back rear
forward forwards / backward backwards reverse
clockwise / counterclockwise
north northern / south southern
east eastern / west western
urban / rural
public publicly / private
local domestic / international foreign abroad overseas remote
online / offline
physical / digital virtual
manual / automatic
wired / wireless
incoming inbound / outgoing outbound
import / export
upload / download
push / pull
throw / catch
collect pick-up / deliver drop-off
collect gather / distribute spread scatter
lift pick-up / drop put-down
show reveal display uncover / hide conceal cover
visible / hidden invisible
read / write
input / output
encrypt encode / decrypt decode
upgrade / downgrade
attract / repel
absorb / emit
float / sink
soothe / irritate
shout / whisper
feed / starve
hurry rush / wait delay
mount / eject
restore bring-back / remove delete rid
catch capture arrest detain / release let-go
attend catch / miss skip
appear / vanish
lead / follow
active busy / passive idle
static / dynamic
synchronous sync / asynchronous async
simple / complex complicated
natural / artificial synthetic
absolute / relative
abstract / concrete
theoretical / practical
odd / even
ascending ascend / descending descend
mandatory compulsory required obligatory / optional voluntary
temporary / permanent
fixed / variable
gross / net
major / minor
majority / minority
senior / junior
primary / secondary
superior / inferior
common / rare
abundant / scarce
same similar / different
always / sometimes
all every each / some
previous former preceding / next latter succeeding
past / future
present / past
present / future
present / absent
presence / absence
ancient traditional / modern
sudden / gradual
normal ordinary usual / abnormal extraordinary unusual
singular / plural
actual / potential
accidental / deliberate intentional
general / specific particular
national / international
local / national global
native / foreign
conservative / liberal
religious / secular
civilian / military
masculine / feminine
offensive / defensive
friendly / hostile
wise / foolish
brave / cowardly
well / ill badly poorly
bullish / bearish
prefix / suffix
raw / cooked
fresh / frozen stale
liquid / solid
alive / dead
survive / die
birth / death
war / peace
awake wake wake-up get-up / asleep fall-asleep
stand stand-up / sit sit-down
laugh / cry
married marry / single divorced divorce
single / double multiple joint return
guilty / innocent
male man men boy husband father son brother uncle nephew
    / female woman women girl wife mother daughter sister aunt niece
adult grown-up parent / child children kid kids
employer / employee
landlord / tenant
creditor / debtor
teacher / student pupil
doctor / patient
host / guest
client / server
friend ally / enemy foe
amateur / professional
retail / wholesale
supply / demand
asset / liability
question / answer
cause / effect cure
horizontal / vertical
sunrise / sunset
inhale / exhale
freeze / melt thaw defrost
"""
# The first of each line in its other forms, where endings do not tell.
_IRREGULAR = """
add adding added
begin began begun
bind bound
break broke broken
bring brought
build built
buy bought
cancel cancelled cancelling
catch caught
come came
deny denied
draw drew drawn
enrol enrolled enrolling
exceed exceeding
fall fell fallen
find found
forbid forbade forbidden
forget forgot forgotten
get got gotten
give gave given
go went gone goes
grow grew grown
hang hung
hold held
keep kept
lay laid
lend lent
lose lost
multiply multiplied
rise rose risen
sell sold
send sent
shrink shrank shrunk
simplify simplified
speed sped speeding
spend spent
stand stood
succeed succeeding
take took taken
teach taught
tear tore torn
throw threw thrown
tie tied tying
wake woke woken
wear wore worn
win won
withdraw withdrew withdrawn
write wrote written
"""
# Of any verb that has one of them.
_PARTICLES = (("in", "out"), ("on", "off"), ("up", "down"))
# Words that look like adverbs of such that lie on a scale.
_NO_ADVERBS = frozenset({"hardly", "lately", "likely", "mostly", "nearly", "shortly"})


def sense_of(form: str) -> str:
    """As words of a text are looked up: without endings; "turned-off" is "turn-off"."""
    verb, _, particle = form.partition("-")
    base = stem(verb)
    return "-".join(filter(None, [BASES.get(base, base), particle]))


def _poles() -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    scales = [scale.split("/") for scale in _SCALES.replace("\n    ", " ").strip().splitlines()]
    forms = {form for scale in scales for pole in scale for form in pole.split()}
    for number, scale in enumerate([*scales, *_scales_of_particles(forms)], start=1):
        for sign, pole in zip((1, -1), scale, strict=True):
            for form in pole.split():
                for sense in {sense_of(form), _adverb(form)} - _NO_ADVERBS:
                    found.setdefault(sense, set()).add(sign * number)
                if form not in forms:
                    # "Wind up" against "calm down".
                    found[sense_of(form)] |= found[form.partition("-")[2]]
    return {sense: frozenset(poles) for sense, poles in found.items()}


def _scales_of_particles(forms: set[str]) -> list[tuple[str, str]]:
    """From "drop out" also "drop in"."""
    verbs = {form.partition("-")[0] for form in forms if "-" in form}
    pairs = [(f"{verb}-{one}", f"{verb}-{other}") for verb in sorted(verbs) for one, other in _PARTICLES]
    return [pair for pair in pairs if not forms.isdisjoint(pair)]


def _adverb(form: str) -> str:
    """Of an adjective; of other words it is none that is ever said."""
    if form.endswith("y"):
        return f"{form[:-1]}ily"
    if form.endswith("le"):
        return f"{form[:-1]}y"
    return f"{form}ally" if form.endswith("ic") else f"{form}ly"


BASES = {stem(form): stem(base) for form, base in by_form(_IRREGULAR).items()}
# By sense. The number says which scale, its sign which end.
POLES = _poles()
