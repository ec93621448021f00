"""Personal data and secrets in a text: where they stand, and the text with them redacted.

Found are e-mail addresses, phone numbers, card numbers (Luhn), IBANs (mod 97), public IP addresses,
and keys and tokens by their published prefixes. Every form is narrow: a run of digits alone is no
phone number, four numbers with dots may be a version.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

PLACEHOLDERS = {
    "e-mail address": "[EMAIL]",
    "phone number": "[PHONE]",
    "card number": "[CARD]",
    "bank account (IBAN)": "[IBAN]",
    "IP address": "[IP]",
    "private key": "[PRIVATE_KEY]",
    "key or token": "[KEY]",
}
SECRETS = ("private key", "key or token")


@dataclass(frozen=True)
class PersonalItem:
    """One item at [start, end) of a text; `shown` tells it without giving it away."""

    kind: str
    start: int
    end: int
    shown: str


_EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9_][\w.%+'-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    r"([A-Za-z]{2,24})(?![\w-])",
    re.ASCII,
)
# Endings of files that follow an @ in code and in names of pictures (icon@2x.png).
_NO_DOMAINS = frozenset(
    "css csv gif html jpeg jpg js json md pdf png py svg ts txt webp xml".split()
)

_INTERNATIONAL = re.compile(
    r"(?<![\w+.=^/*-])(?:\+|(?<!\d[ -])00(?=[1-9]\d[ ./-]))"
    r"[1-9]\d{0,2}(?:[ ./-]{0,2}\(?\d{1,5}\)?){2,6}(?![\w%])"
)
_NORTH_AMERICA = re.compile(
    r"(?<![\w.+$€£-])(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}([-.]))\d{3}"
    r"(?(1)\1|[-. ])\d{4}(?![\w%]|[.,-]\d)"
)
_FRANCE = re.compile(r"(?<![\w.+-])0[1-79](?:([ .])\d{2})(?:\1\d{2}){3}(?![\w%]|[ .]\d)")
_CHINA = re.compile(r"(?<![\w.+-])1[3-9]\d(?:\d{8}|([ -])\d{4}\1\d{4})(?![\w%]|[.-]\d)")
_CALLED = re.compile(
    r"(?:\b(?:tel(?:e(?:phone|fon[eo]?|fax))?|t[eé]l(?:[eé](?:phone|fono))?|phone|call|mobile|cell|fax|"
    r"whatsapp|sms|contact|handy|mobil|rufnummer|celular|cellulare|portable|hotline|helpline)\b"
    r"|тел|телефон|电话|電話|手机|手機|전화|연락처|फ़ोन|هاتف)"
    r"[^\d\n+]{0,20}(\+?\(?\d[\d ()/.-]{5,18}\d)(?![\w%]|[.-]\d)",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}")
_CARD = re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){14,15}(?![\w]|[.-]\d)")
# Issuers by prefix, with the lengths they give today (15 and 16): a shorter or longer run of digits
# is more likely another number. Source: ISO/IEC 7812, its issuers' public ranges.
_ISSUERS = re.compile(
    r"(?:4\d{15}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14})"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
# Source: the IBAN registry of SWIFT (ISO 13616): countries' lengths.
_IBAN_LENGTHS = {
    entry[:2]: int(entry[2:])
    for entry in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 "
        "DK18 DO28 EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 "
        "IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 MC27 MD24 "
        "ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 "
        "SE24 SI19 SK24 SM27 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
    ).split()
}
_IPV4 = re.compile(r"(?<![\w.=/-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_VERSION_BEFORE = re.compile(r"(?:\bv|version|ver\.|release|build|section|chapter|§)\s*$", re.I)
_IP_BEFORE = re.compile(r"\bip\b.{0,20}$|\b(?:host|server|ping|ssh|address|from)\W{0,3}$", re.I)
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]{5,34}(?![\w:.]*[\w:])")

_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:.*?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s\\]*)",
    re.DOTALL,
)
# Published prefixes of tokens; each must also mix letters and digits (see _secrets).
_TOKEN = re.compile(
    r"(?<![\w-])(?:sk-(?:proj-|ant-|or-|svcacct-)?[\w-]{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}(?!\w)|hf_[A-Za-z0-9]{20,}|xox[abeoprs]-[\w-]{10,}"
    r"|AIza[\w-]{35}|glpat-[\w-]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{40,}"
    r"|[rsp]k_(?:live|test)_[A-Za-z0-9]{16,}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})",
    re.ASCII,
)
_TOKEN_SIGNS = (
    *("sk-", "gh", "github_pat_", "AKIA", "ASIA", "hf_", "xox", "AIza", "glpat-", "npm_", "pypi-"),
    *("k_live_", "k_test_", "eyJ"),
)
_DIGITS = re.compile(r"\d[\d ().:/-]{5,}\d|\d[0-9A-Fa-f]*:[0-9A-Fa-f]*:")


def personal_items(text: str) -> list[PersonalItem]:
    """All items in the text, in order, none inside another."""
    found: list[PersonalItem] = []
    found.extend(_secrets(text))
    if "@" in text:
        found.extend(_emails(text))
    if _DIGITS.search(text):
        for look in (_ibans, _cards, _addresses, _phones):
            found.extend(look(text))
    kept: list[PersonalItem] = []
    taken = bytearray(len(text))
    # What is found first is the surer: a card number is no phone number.
    for item in found:
        if 1 not in taken[item.start : item.end]:
            taken[item.start : item.end] = b"\1" * (item.end - item.start)
            kept.append(item)
    return sorted(kept, key=lambda item: item.start)


def redacted(text: str) -> str:
    """The text with every item replaced by a word such as [EMAIL]."""
    # What stood right beside an item is told only when that is gone.
    while items := personal_items(text):
        pieces, end = [], 0
        for item in items:
            pieces += [text[end : item.start], PLACEHOLDERS[item.kind]]
            end = item.end
        text = "".join([*pieces, text[end:]])
    return text


def _secrets(text: str) -> Iterator[PersonalItem]:
    if "PRIVATE KEY" in text:
        for match in _PRIVATE_KEY.finditer(text):
            yield PersonalItem("private key", *match.span(), match[0].split("\n")[0][:40] + " …")
    if any(sign in text for sign in _TOKEN_SIGNS):
        for match in _TOKEN.finditer(text):
            body = match[0]
            if any(map(str.isdigit, body[4:])) and any(map(str.isalpha, body[4:])):
                yield PersonalItem("key or token", *match.span(), f"{body[:4]}…")


def _emails(text: str) -> Iterator[PersonalItem]:
    for match in _EMAIL.finditer(text):
        name, _, domain = match[0].rpartition("@")
        # git@github.com:owner/project is where code lives, and names nobody.
        if match[1].lower() not in _NO_DOMAINS and name != "git":
            yield PersonalItem("e-mail address", *match.span(), f"{name[0]}…@{domain}")


def _ibans(text: str) -> Iterator[PersonalItem]:
    for match in _IBAN.finditer(text):
        # The last group may be the next word: the longest part that is right counts.
        for end in range(match.end(), match.start() + 14, -1):
            part = text[match.start() : end]
            if part[-1] != " " and is_iban(part):
                shown = f"{part[:4]} … {part[-2:]}"
                yield PersonalItem("bank account (IBAN)", match.start(), end, shown)
                break


def is_iban(text: str) -> bool:
    """Whether the check digits are right. Source: ISO 13616 (mod 97)."""
    plain = text.replace(" ", "")
    if len(plain) != _IBAN_LENGTHS.get(plain[:2]):
        return False
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _cards(text: str) -> Iterator[PersonalItem]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        groups = [len(group) for group in re.split(r"[ -]", match[0])]
        grouped = len(groups) == 1 or groups in (
            [4, 4, 4, 4],
            [4, 6, 5],
            [4, 6, 4],
            [4, 4, 4, 4, 3],
        )
        if grouped and _ISSUERS.fullmatch(digits) and is_luhn(digits):
            yield PersonalItem("card number", *match.span(), f"… {digits[-4:]}")


def is_luhn(digits: str) -> bool:
    """Whether the last digit checks the others. Source: Luhn, US patent 2950048 (ISO/IEC 7812)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        n = int(digit) * (1 + place % 2)
        total += n - 9 if n > 9 else n
    return total % 10 == 0 and len(set(digits)) > 1


def _addresses(text: str) -> Iterator[PersonalItem]:
    for match in _IPV4.finditer(text):
        before = text[max(match.start() - 24, 0) : match.start()]
        numbers = [int(number) for number in match[0].split(".")]
        # Versions and sections count in small numbers; an address that does is told by its word.
        numbering = max(numbers) < 32 and not _IP_BEFORE.search(before)
        if max(numbers) < 256 and not numbering and not _VERSION_BEFORE.search(before):
            if _is_public(ipaddress.IPv4Address(".".join(map(str, numbers)))):
                yield PersonalItem("IP address", *match.span(), f"{numbers[0]}.{numbers[1]}.…")
    if text.count(":") < 3:
        return
    for match in _IPV6.finditer(text):
        if match[0].count(":") >= 3:
            try:
                address = ipaddress.IPv6Address(match[0])
            except ValueError:
                continue
            if _is_public(address):
                yield PersonalItem("IP address", *match.span(), f"{match[0].split(':')[0]}:…")


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Not one that every network has: those name nobody. Addresses of documentation count."""
    if address.is_loopback or address.is_link_local or address.is_multicast:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        nets = ("0.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "240.0.0.0/4")
        return not any(address in ipaddress.IPv4Network(net) for net in nets)
    return address in ipaddress.IPv6Network("2000::/3")


def _phones(text: str) -> Iterator[PersonalItem]:
    looks: tuple[tuple[re.Pattern[str], int, Callable[[str], bool]], ...] = (
        # Nobody writes the longest ones without blanks; sums look so.
        (
            _INTERNATIONAL,
            0,
            lambda found: 8 <= _n_digits(found) <= (13 if found[1:].isdigit() else 15),
        ),
        (_NORTH_AMERICA, 0, lambda found: True),
        (_FRANCE, 0, lambda found: True),
        (_CHINA, 0, lambda found: True),
        (_CALLED, 1, lambda found: 7 <= _n_digits(found) <= 15 and not _DATE.match(found)),
    )
    for pattern, group, is_number in looks:
        for match in pattern.finditer(text):
            if is_number(match[group]):
                start, end = match.span(group)
                shown = f"{match[group][:3].strip()}…{match[group][-2:]}"
                yield PersonalItem("phone number", start, end, shown)


def _n_digits(text: str) -> int:
    return sum(map(str.isdigit, text))
