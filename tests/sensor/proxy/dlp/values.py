"""Values as vendors and standards document them, made up from a seed. The corpus puts them into texts."""

# ruff: noqa: E501 -- tables of samples

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable
from typing import Any

from stdnum import luhn

Rng = random.Random

ALNUM = string.ascii_letters + string.digits

URLSAFE = ALNUM + "-_"

HEX = "0123456789abcdef"

B64 = ALNUM + "+/"

UPPER = string.ascii_uppercase + string.digits


def pick(rng: Rng, letters: str, length: int) -> str:
    return "".join(rng.choices(letters, k=length))


def uuid(rng: Rng) -> str:
    return "-".join(pick(rng, HEX, n) for n in (8, 4, 4, 4, 12))


# --- credentials: prefix formats, (name, maker)
def jwt(rng: Rng) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    head = part({"alg": rng.choice(["HS256", "RS256"]), "typ": "JWT"})
    return f"{head}.{part({'sub': pick(rng, HEX, 12), 'exp': rng.randrange(10**9)})}.{pick(rng, URLSAFE, 43)}"


def pem(rng: Rng, kind: str) -> str:
    lines = "\n".join(pick(rng, B64, 64) for _ in range(rng.randint(6, 24)))
    return f"-----BEGIN {kind}-----\n{lines}\n{pick(rng, B64, 30)}==\n-----END {kind}-----"


TOKENS: dict[str, Callable[[Rng], str]] = {
    "aws-access-key": lambda r: r.choice(["AKIA", "ASIA"]) + pick(r, string.ascii_uppercase + "234567", 16),
    "google-api": lambda r: "AIza" + pick(r, URLSAFE, 34) + pick(r, ALNUM, 1),
    "google-oauth": lambda r: "ya29." + pick(r, URLSAFE, 160),
    "google-secret": lambda r: "GOCSPX-" + pick(r, URLSAFE, 27) + pick(r, ALNUM, 1),
    "azure-secret": lambda r: pick(r, ALNUM, 3) + pick(r, string.digits, 1) + "Q~" + pick(r, ALNUM + "_~.-", 33) + "a",
    "alibaba": lambda r: "LTAI5t" + pick(r, ALNUM, 17) + "7",
    "tencent": lambda r: "AKID" + pick(r, ALNUM, 32),
    "digitalocean": lambda r: r.choice(["dop", "doo", "dor"]) + "_v1_" + pick(r, HEX, 64),
    "vault": lambda r: "hvs." + pick(r, URLSAFE, 94) + "x",
    "terraform": lambda r: pick(r, ALNUM, 14) + ".atlasv1." + pick(r, ALNUM, 67),
    "pulumi": lambda r: "pul-" + pick(r, HEX, 40),
    "doppler": lambda r: "dp.pt." + pick(r, ALNUM, 43),
    "databricks": lambda r: "dapi" + pick(r, HEX, 32),
    "planetscale": lambda r: "pscale_tkn_" + pick(r, ALNUM, 43),
    "supabase": lambda r: "sbp_" + pick(r, HEX, 40),
    "grafana": lambda r: "glsa_" + pick(r, ALNUM, 32) + "_" + pick(r, HEX, 8),
    "newrelic": lambda r: "NRAK-" + pick(r, UPPER, 27),
    "sentry": lambda r: "sntryu_" + pick(r, HEX, 64),
    "dynatrace": lambda r: "dt0c01." + pick(r, UPPER, 24) + "." + pick(r, UPPER, 64),
    "docker": lambda r: "dckr_pat_" + pick(r, URLSAFE, 26) + "a",
    "tailscale": lambda r: "tskey-auth-k" + pick(r, ALNUM, 10) + "CNTRL-" + pick(r, ALNUM, 32),
    "age": lambda r: "AGE-SECRET-KEY-1" + pick(r, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
    "openai": lambda r: "sk-proj-" + pick(r, URLSAFE, 74) + "T3BlbkFJ" + pick(r, URLSAFE, 73) + "A",
    "openai-old": lambda r: "sk-" + pick(r, ALNUM, 20) + "T3BlbkFJ" + pick(r, ALNUM, 20),
    "anthropic": lambda r: "sk-ant-api03-" + pick(r, URLSAFE, 93) + "AA",
    "openrouter": lambda r: "sk-or-v1-" + pick(r, HEX, 64),
    "deepseek": lambda r: "sk-" + pick(r, HEX, 32),
    "huggingface": lambda r: "hf_" + pick(r, string.ascii_letters, 34),
    "groq": lambda r: "gsk_" + pick(r, ALNUM, 52),
    "xai": lambda r: "xai-" + pick(r, ALNUM, 80),
    "perplexity": lambda r: "pplx-" + pick(r, ALNUM, 48),
    "replicate": lambda r: "r8_" + pick(r, ALNUM, 37),
    "langsmith": lambda r: "lsv2_pt_" + pick(r, HEX, 32) + "_" + pick(r, HEX, 10),
    "nvidia": lambda r: "nvapi-" + pick(r, URLSAFE, 63) + "a",
    "pinecone": lambda r: "pcsk_" + pick(r, ALNUM, 6) + "_" + pick(r, ALNUM, 63),
    "tavily": lambda r: "tvly-dev-" + pick(r, ALNUM, 31) + "7",
    "github": lambda r: r.choice(["ghp", "gho", "ghs", "ghu", "ghr"]) + "_" + pick(r, ALNUM, 36),
    "github-fine": lambda r: "github_pat_" + pick(r, ALNUM, 22) + "_" + pick(r, ALNUM, 59),
    "gitlab": lambda r: "glpat-" + pick(r, URLSAFE, 19) + "a",
    "atlassian": lambda r: "ATATT3xFfGF0" + pick(r, URLSAFE, 171) + "=" + pick(r, HEX.upper(), 8),
    "npm": lambda r: "npm_" + pick(r, ALNUM, 36),
    "pypi": lambda r: "pypi-AgEIcHlwaS5vcmc" + pick(r, URLSAFE, 150),
    "rubygems": lambda r: "rubygems_" + pick(r, HEX, 48),
    "postman": lambda r: "PMAK-" + pick(r, HEX, 24) + "-" + pick(r, HEX, 34),
    "linear": lambda r: "lin_api_" + pick(r, ALNUM, 40),
    "figma": lambda r: "figd_" + pick(r, URLSAFE, 39) + "a",
    "notion": lambda r: "ntn_" + pick(r, string.digits, 11) + pick(r, ALNUM, 35),
    "shopify": lambda r: "shpat_" + pick(r, HEX, 32),
    "sendgrid": lambda r: "SG." + pick(r, URLSAFE, 22) + "." + pick(r, URLSAFE, 42) + "a",
    "mailchimp": lambda r: pick(r, HEX, 32) + f"-us{r.randint(1, 21)}",
    "brevo": lambda r: "xkeysib-" + pick(r, HEX, 64) + "-" + pick(r, ALNUM, 16),
    "stripe": lambda r: "sk_live_" + pick(r, ALNUM, r.choice([24, 99])),
    "stripe-restricted": lambda r: "rk_live_" + pick(r, ALNUM, 24),
    "stripe-webhook": lambda r: "whsec_" + pick(r, ALNUM, 32),
    "square": lambda r: "sq0csp-" + pick(r, URLSAFE, 42) + "a",
    "plaid": lambda r: "access-production-" + uuid(r),
    "razorpay": lambda r: "rzp_live_" + pick(r, ALNUM, 13) + "5",
    "slack-bot": lambda r: f"xoxb-{pick(r, '123456789', 12)}-{pick(r, '123456789', 13)}-{pick(r, ALNUM, 24)}",
    "slack-app": lambda r: f"xapp-1-A0{pick(r, UPPER, 9)}-{pick(r, '123456789', 13)}-{pick(r, HEX, 64)}",
    "slack-hook": lambda r: f"https://hooks.slack.com/services/T0{pick(r, UPPER, 8)}/B0{pick(r, UPPER, 9)}/{pick(r, ALNUM, 24)}",
    "discord-hook": lambda r: f"https://discord.com/api/webhooks/{pick(r, '123456789', 18)}/{pick(r, URLSAFE, 68)}",
    "telegram": lambda r: f"{pick(r, '123456789', 10)}:AA{pick(r, URLSAFE, 32)}a",
    "jwt": jwt,
    "pem-rsa": lambda r: pem(r, "RSA PRIVATE KEY"),
    "pem": lambda r: pem(r, "PRIVATE KEY"),
    "pem-ec": lambda r: pem(r, "EC PRIVATE KEY"),
    "pem-ssh": lambda r: pem(r, "OPENSSH PRIVATE KEY"),
    "postgres": lambda r: f"postgresql://app:{password(r)}@db{r.randint(1, 9)}.corp.net:5432/prod",
    "mongo": lambda r: f"mongodb+srv://svc_{pick(r, HEX, 3)}:{password(r)}@cluster0.{pick(r, HEX, 5)}.mongodb.net/crm",
    "redis": lambda r: f"redis://:{password(r)}@10.0.{r.randint(0, 9)}.5:6379/0",
    "amqp": lambda r: f"amqps://mq:{password(r)}@rabbit.corp.net/vh",
    "basic-url": lambda r: f"https://deploy:{password(r)}@git.corp.net/team/app.git",
    "odbc": lambda r: f"Server=sql{r.randint(1, 9)};Database=erp;User Id=etl;Password={password(r)};Encrypt=yes",
    "azure-conn": lambda r: "DefaultEndpointsProtocol=https;AccountName=corpdata;AccountKey=" + pick(r, B64, 86) + "==",
    "bcrypt": lambda r: "$2b$12$" + pick(r, "./" + ALNUM, 53),
}  # fmt: skip


def password(rng: Rng) -> str:
    return pick(rng, string.ascii_letters, 6) + pick(rng, string.digits, 3) + pick(rng, ALNUM, 5)


def chosen_password(rng: Rng) -> str:
    word = rng.choice(
        ["Sommer", "Winter", "Dragon", "Liverpool", "Kaffee", "Monkey", "Falcon", "Bretzel", "Sunrise"]
    )
    return (
        word
        + rng.choice(["#", "!", "$", "@", "_", ""])
        + str(rng.randint(10, 2030))
        + rng.choice(["", "!", "?"])
    )


# Values without a form of their own, told by the name they are given to.
NAMED: tuple[tuple[str, Callable[[Rng], str]], ...] = (
    ("AWS_SECRET_ACCESS_KEY", lambda r: pick(r, B64, 38) + "a7"),
    ("DATADOG_API_KEY", lambda r: pick(r, HEX, 32)),
    ("AZURE_OPENAI_API_KEY", lambda r: pick(r, HEX, 32)),
    ("CLOUDFLARE_API_TOKEN", lambda r: pick(r, URLSAFE, 38) + "a7"),
    ("HEROKU_API_KEY", uuid),
    ("MISTRAL_API_KEY", lambda r: pick(r, ALNUM, 31) + "4"),
    ("COHERE_API_KEY", lambda r: pick(r, ALNUM, 39) + "4"),
    ("WANDB_API_KEY", lambda r: pick(r, HEX, 40)),
    ("TWILIO_AUTH_TOKEN", lambda r: pick(r, HEX, 32)),
    ("SENTRY_AUTH_TOKEN", lambda r: pick(r, HEX, 64)),
    ("SONAR_TOKEN", lambda r: pick(r, HEX, 40)),
    ("CLIENT_SECRET", lambda r: pick(r, URLSAFE, 38) + "a7"),
    ("JWT_SECRET", lambda r: pick(r, ALNUM, 48)),
    ("APP_SIGNING_KEY", lambda r: pick(r, HEX, 64)),
    ("api_key", lambda r: pick(r, ALNUM, 32)),
    ("auth_token", lambda r: pick(r, HEX, 40)),
)

# --- numbers
ISSUERS = (("4", 16), ("51", 16), ("52", 16), ("53", 16), ("54", 16), ("55", 16), ("2345", 16), ("34", 15), ("37", 15),
           ("6011", 16), ("65", 16), ("3530", 16), ("62", 16), ("36", 14))  # fmt: skip


def card(rng: Rng) -> str:
    prefix, length = rng.choice(ISSUERS)
    body = prefix + pick(rng, string.digits, length - 1 - len(prefix))
    return body + luhn.calc_check_digit(body)


def grouped(number: str, rng: Rng) -> str:
    mark = rng.choice(" -")
    if len(number) == 15:
        return mark.join((number[:4], number[4:10], number[10:]))
    if len(number) == 14:
        return mark.join((number[:4], number[4:10], number[10:]))
    return mark.join(number[i : i + 4] for i in range(0, len(number), 4))


def iban(rng: Rng) -> str:
    country = rng.choice(["DE", "AT", "CH", "NL", "IE", "LU", "LT", "GB"])
    length, bank = {"DE": (18, ""), "AT": (16, ""), "CH": (17, ""), "NL": (10, "ABNA"), "IE": (14, "AIBK"), "LU": (16, ""), "LT": (16, ""), "GB": (14, "NWBK")}[country]  # fmt: skip
    body = bank + pick(rng, string.digits, length)
    number = "".join(str(int(c, 36)) for c in body + country + "00")
    return f"{country}{98 - int(number) % 97:02d}{body}"


def weighted(
    rng: Rng, weights: tuple[int, ...], modulus: int, check: Callable[[int], int], first: str = "123456789"
) -> str:
    while True:
        body = rng.choice(first) + pick(rng, string.digits, len(weights) - 1)
        digit = check(sum(w * int(c) for w, c in zip(weights, body, strict=True)) % modulus)
        if 0 <= digit <= 9:
            return f"{body}{digit}"


def date(rng: Rng) -> tuple[int, int, int]:
    return rng.randint(1950, 1999), rng.randint(1, 12), rng.randint(1, 28)


def fiscal(rng: Rng) -> str:
    odd = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23), strict=True))  # fmt: skip
    year, month, day = date(rng)
    body = pick(rng, "BCDFGLMNPRSTV", 6) + f"{year % 100:02d}{'ABCDEHLMPRST'[month - 1]}{day:02d}" + rng.choice(["H501", "F205", "L219", "A662"])  # fmt: skip
    total = sum(
        odd[c] if i % 2 == 0 else (int(c) if c.isdigit() else ord(c) - 65) for i, c in enumerate(body)
    )
    return body + chr(65 + total % 26)


def cn(rng: Rng) -> str:
    year, month, day = date(rng)
    body = (
        rng.choice(["110101", "310104", "440106"])
        + f"{year}{month:02d}{day:02d}"
        + pick(rng, string.digits, 3)
    )
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(w * int(c) for w, c in zip(weights, body, strict=True)) % 11]


def fi(rng: Rng) -> str:
    year, month, day = date(rng)
    number = rng.randint(2, 899)
    digits = int(f"{day:02d}{month:02d}{year % 100:02d}{number:03d}")
    return (
        f"{day:02d}{month:02d}{year % 100:02d}-{number:03d}{'0123456789ABCDEFHJKLMNPRSTUVWXY'[digits % 31]}"
    )


def se(rng: Rng) -> str:
    year, month, day = date(rng)
    body = f"{year % 100:02d}{month:02d}{day:02d}{rng.randint(0, 999):03d}"
    return f"{body[:6]}-{body[6:]}{luhn.calc_check_digit(body)}"


def cpf(rng: Rng) -> str:
    body = pick(rng, string.digits, 9)
    for size in (10, 11):
        rest = sum((size - i) * int(c) for i, c in enumerate(body)) * 10 % 11
        body += str(rest % 10)
    return f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}"


def ahv(rng: Rng) -> str:
    body = "756" + pick(rng, string.digits, 9)
    check = -sum((3 if i % 2 else 1) * int(c) for i, c in enumerate(body)) % 10
    return f"756.{body[3:7]}.{body[7:11]}.{body[11]}{check}"


def nir(rng: Rng) -> str:
    body = f"{rng.choice('12')}{rng.randint(50, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 19):02d}{pick(rng, string.digits, 6)}"
    value = f"{body}{97 - int(body) % 97:02d}"
    return rng.choice(
        (
            value,
            f"{value[0]} {value[1:3]} {value[3:5]} {value[5:7]} {value[7:10]} {value[10:13]} {value[13:]}",
        )
    )


def ssn(rng: Rng) -> str:
    return f"{rng.choice([n for n in range(100, 770) if n != 666]):03d}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"


def nino(rng: Rng) -> str:
    return f"{rng.choice('ABCEHJLMPRSW')}{rng.choice('ABCEHJLMPRSX')} {' '.join(f'{rng.randint(0, 99):02d}' for _ in range(3))} {rng.choice('ABCD')}"  # fmt: skip


def es_dni(rng: Rng) -> str:
    number = rng.randint(10_000_000, 89_999_999)
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def rut(rng: Rng) -> str:
    number = str(rng.randint(5_000_000, 24_999_999))
    rest = 11 - sum(int(c) * (2 + i % 6) for i, c in enumerate(reversed(number))) % 11
    return f"{int(number):,}".replace(",", ".") + "-" + {11: "0", 10: "K"}.get(rest, str(rest))


def pesel(rng: Rng) -> str:
    year, month, day = date(rng)
    body = f"{year % 100:02d}{month:02d}{day:02d}{pick(rng, string.digits, 4)}"
    return body + str(
        -sum(w * int(c) for w, c in zip((1, 3, 7, 9, 1, 3, 7, 9, 1, 3), body, strict=True)) % 10
    )


def bsn(rng: Rng) -> str:
    return weighted(rng, (9, 8, 7, 6, 5, 4, 3, 2), 11, lambda rest: rest)


def nhs(rng: Rng) -> str:
    value = weighted(rng, (10, 9, 8, 7, 6, 5, 4, 3, 2), 11, lambda rest: (11 - rest) % 11, "4679")
    return f"{value[:3]} {value[3:6]} {value[6:]}"


def oib(rng: Rng) -> str:
    body, rest = pick(rng, string.digits, 10), 10
    for c in body:
        rest = (rest + int(c)) % 10 or 10
        rest = rest * 2 % 11
    return f"{body}{(11 - rest) % 10}"


def idnr(rng: Rng) -> str:
    while True:
        digits = rng.sample(string.digits, 9)
        digits.append(rng.choice(digits))
        rng.shuffle(digits)
        if digits[0] == "0":
            continue
        rest = 10
        for c in digits:
            rest = (rest + int(c)) % 10 or 10
            rest = rest * 2 % 11
        return "".join(digits) + str((11 - rest) % 10)


def tckn(rng: Rng) -> str:
    body = rng.choice("123456789") + pick(rng, string.digits, 8)
    digits = [int(c) for c in body]
    tenth = (7 * sum(digits[::2]) - sum(digits[1::2])) % 10
    return f"{body}{tenth}{(sum(digits) + tenth) % 10}"


IDS: tuple[tuple[str, Callable[[Rng], str]], ...] = (
    ("SSN", ssn), ("social security number", ssn), ("national insurance number", nino), ("NHS number", nhs),
    ("Steuer-ID", idnr), ("numéro de sécurité sociale", nir), ("codice fiscale", fiscal), ("DNI", es_dni), ("BSN", bsn),
    ("personnummer", se), ("henkilötunnus", fi), ("AHV", ahv), ("CPF", cpf), ("RUT", rut), ("PESEL", pesel),
    ("OIB", oib), ("身份证", cn), ("TC Kimlik", tckn),
    ("SIN", lambda r: (lambda b: b + luhn.calc_check_digit(b))(r.choice("12345679") + pick(r, string.digits, 7))),
    ("NINO", nino),
)  # fmt: skip

# --- people
GIVEN = [
    "Anna",
    "Maria",
    "James",
    "Robert",
    "Linda",
    "Karen",
    "Thomas",
    "Lukas",
    "Sophie",
    "Emma",
    "Liam",
    "Noah",
    "Olivia",
    "Jürgen",
    "Søren",
    "Pierre",
    "Chloé",
    "Marco",
]

FAMILY = [
    "Miller",
    "Schmidt",
    "Novak",
    "Rossi",
    "Dubois",
    "García",
    "Andersen",
    "Kowalski",
    "Jansen",
    "Weber",
    "O'Brien",
    "Tanaka",
    "Silva",
    "Hansen",
    "Moreau",
]

DOMAINS = ("acme-corp.com", "firma.de", "kanzlei-weber.at", "uni-bonn.de", "gmail.com", "outlook.com", "mail.co.uk", "studio.io", "example.org")  # fmt: skip


def plain(name: str) -> str:
    return name.lower().translate(str.maketrans("üøéí'", "uoei_")).replace("_", "")


def phone(rng: Rng) -> str:
    n = lambda k: pick(rng, "23456789", k)  # noqa: E731
    return rng.choice(
        (f"+1 {rng.choice(['212', '415', '617', '312'])}-{n(1)}{n(2)}-{n(4)}", f"+49 30 {n(3)}{n(4)}", f"+44 20 7{n(3)} {n(4)}", f"+33 1 {n(2)} {n(2)} {n(2)} {n(2)}", f"+41 44 {n(3)} {n(2)} {n(2)}",
         f"({rng.choice(['212', '415', '617'])}) {n(3)}-{n(4)}", f"{rng.choice(['212', '415', '617'])}-{n(3)}-{n(4)}", f"+4915{rng.choice('12')}{n(8)}", f"+346{n(8)}", f"+39 06 {n(4)} {n(4)}")
    )  # fmt: skip


CODE: dict[str, tuple[str, ...]] = {
    "python": ("import sys\nfrom pathlib import Path\n\n\ndef NAME(path: Path, limit: int = NUM) -> list[str]:\n    with path.open() as file:\n        rows = [line.strip() for line in file]\n    if len(rows) > limit:\n        raise ValueError('too long')\n    return rows\n",
               "class NAME:\n    def __init__(self, items):\n        self.items = items\n\n    def total(self):\n        return sum(i.price for i in self.items)\n\n\nx = NAME([])\nprint(x.total())\n"),
    "javascript": ("const NAME = require('fs');\n\nasync function load(path) {\n  const data = await NAME.readFile(path);\n  return JSON.parse(data);\n}\n\nmodule.exports = { load };\n",
                   "export const NAME = ({ items }) => {\n  const [open, setOpen] = useState(false);\n  return items.map((i) => i.id === NUM);\n};\n"),
    "typescript": ("interface NAME {\n  id: number;\n  name: string;\n}\n\nexport function find(list: NAME[], id: number): NAME | undefined {\n  return list.find((x) => x.id === id);\n}\n",),
    "java": ("package com.corp.app;\n\nimport java.util.List;\n\npublic class NAME {\n    private final List<String> rows;\n\n    public NAME(List<String> rows) {\n        this.rows = rows;\n    }\n\n    public int size() {\n        return rows.size() + NUM;\n    }\n}\n",),
    "c": ("#include <stdio.h>\n#include <string.h>\n\nint NAME(const char *s) {\n    size_t n = strlen(s);\n    for (size_t i = 0; i < n; i++) {\n        printf(\"%c\", s[i]);\n    }\n    return NUM;\n}\n",),
    "cpp": ("#include <vector>\n\ntemplate <typename T>\nclass NAME {\npublic:\n    void add(T v) { items.push_back(v); }\n    std::size_t size() const { return items.size(); }\nprivate:\n    std::vector<T> items;\n};\n",),
    "csharp": ("using System;\nusing System.Linq;\n\nnamespace Corp.App\n{\n    public class NAME\n    {\n        public int Id { get; set; }\n        public string Show() => $\"{Id}\";\n    }\n}\n",),
    "go": ("package main\n\nimport \"fmt\"\n\ntype NAME struct {\n\tID int\n}\n\nfunc (n *NAME) Show() error {\n\tif n.ID == NUM {\n\t\treturn fmt.Errorf(\"bad\")\n\t}\n\treturn nil\n}\n",),
    "rust": ("use std::fs;\n\npub fn NAME(path: &str) -> Result<String, std::io::Error> {\n    let text = fs::read_to_string(path)?;\n    let mut lines: Vec<&str> = text.lines().collect();\n    lines.sort();\n    Ok(lines.join(\"\\n\"))\n}\n",),
    "php": ("<?php\nnamespace App;\n\nclass NAME {\n    public function run($items) {\n        foreach ($items as $item) {\n            echo $item->name;\n        }\n        return $this->count;\n    }\n}\n",),
    "ruby": ("require 'json'\n\nclass NAME\n  attr_reader :rows\n\n  def initialize(rows)\n    @rows = rows\n  end\n\n  def each\n    rows.each do |row|\n      puts row\n    end\n  end\nend\n",),
    "sql": ("SELECT c.id, c.name, SUM(o.total)\nFROM customers c\nJOIN orders o ON o.customer_id = c.id\nWHERE o.created > '2026-01-01'\nGROUP BY c.id, c.name\nORDER BY 3 DESC;\n", "CREATE TABLE NAME (\n  id bigint PRIMARY KEY,\n  name varchar(80) NOT NULL\n);\nINSERT INTO NAME (id, name) VALUES (NUM, 'a');\n"),
    "shell": ("#!/bin/bash\nset -euo pipefail\nfor f in *.log; do\n  if [ -s \"$f\" ]; then\n    gzip \"$f\"\n    echo \"done $f\"\n  fi\ndone\n",),
    "powershell": ("param([string]$Path)\n$files = Get-ChildItem -Path $Path -Recurse\n$files | Where-Object { $_.Length -gt NUM } | ForEach-Object {\n  Write-Output $_.Name\n}\n",),
    "swift": ("import Foundation\n\nstruct NAME: Codable {\n    let id: Int\n    func show(prefix: String) -> String {\n        guard let first = items.first else { return \"\" }\n        return first\n    }\n}\n",),
    "kotlin": ("package com.corp\n\ndata class NAME(val id: Int)\n\nfun find(list: List<NAME>, id: Int): NAME? {\n    val found = list.firstOrNull { it.id == id }\n    return found\n}\n",),
}  # fmt: skip

# --- a site's own lists; `site` in the tests is made from these
NAMES = tuple(f"{g} {f}" for g in GIVEN for f in FAMILY)

WORDS = ("Project Nightjar", "Blue Heron", "codename obsidian", "Kestrel-7")

CUSTOMERS = tuple(f"KD-{n:06d}-{n * 7 % 97:02d}" for n in range(100_000, 900_000, 4_001))

DOCUMENT = (
    "The board has decided to move the bottling plant from the valley to the western harbour before winter begins. "
    "Workers who agree to move will keep their benefits, and families are given help with flats and kindergartens. "
    "Management will explain the breakdown of costs, the financing by banks, and which machines must be bought again. "
    "Water rights are the main worry: without the governor's favour the permit for wells could fail within weeks. "
    "Marketing keeps the famous bottle, whose value was estimated by three foreign bureaus, while the bearing of "
    "the brand moves further towards families. Machines worth forty million become obsolete; Buyers were found for "
    "most of the material. Where managers fear walkouts, mediators from the ministry will be brought in beforehand. "
    "Monthly figures go to the board by messenger only, because former members were found forwarding mails. "
)
