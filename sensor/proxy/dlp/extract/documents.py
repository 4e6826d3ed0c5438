"""Office documents, PDF and what pictures say of themselves."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zipfile
import zlib
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse
from PIL import ExifTags, Image
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from sensor.proxy.dlp.extract.budget import Budget

# What parsers of hostile documents raise besides their own errors; anything else is a bug to be seen.
_BROKEN = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    AssertionError,
    NotImplementedError,
    EOFError,
    SyntaxError,
    OSError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
# Parts of OOXML (ECMA-376) and ODF that hold text, and properties, where sensitivity labels are.
_PARTS = ("word/", "xl/sharedstrings", "xl/worksheets/", "xl/comments", "ppt/slides/", "ppt/notesslides/",
          "ppt/comments", "docprops/", "docmetadata/", "content.xml", "meta.xml")  # fmt: skip
_NOT_TEXT = ("styles.xml", "settings.xml", "theme", "fonttable", "numbering.xml", "websettings")
_LINES = frozenset(["p", "row", "si", "tr", "h", "table-row", "br", "comment", "property"])
_PICTURE_TEXT = 65_536

logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it repeats what it reads


def is_office(archive: zipfile.ZipFile) -> bool:
    """Whether a ZIP file is a document: OOXML or ODF."""
    names = archive.NameToInfo
    return "[Content_Types].xml" in names or ("content.xml" in names and "mimetype" in names)


def read_office(archive: zipfile.ZipFile, where: str, budget: Budget) -> None:
    """Add the text of a document's parts."""
    for info in archive.infolist():
        name = info.filename.lower()
        if (
            not name.endswith(".xml")
            or not name.startswith(_PARTS)
            or any(part in name for part in _NOT_TEXT)
        ):
            continue
        if budget.members >= budget.limits.members:
            budget.too_large(where, "members")
            return
        budget.members += 1
        _part(archive, info, where, budget)


def _part(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str, budget: Budget) -> None:
    place = f"{where}!{info.filename[:100]}"
    try:
        with archive.open(info) as file:
            data = file.read(budget.unpack(min(info.file_size, budget.limits.document)))
    except (zipfile.BadZipFile, *_BROKEN):
        budget.unreadable(place, "office")
        return
    if len(data) < info.file_size:
        budget.too_large(place, "office")
    text, whole = _xml_text(data)
    if not whole:
        budget.unreadable(place, "xml")
    budget.add(place, text)


def _xml_text(data: bytes) -> tuple[str, bool]:
    """Text of all elements, a line for each paragraph or row; properties as `name=value`. And whether it ended well."""
    parts: list[str] = []
    try:
        for event, element in iterparse(io.BytesIO(data), events=("start", "end"), forbid_dtd=True):
            tag = str(element.tag).rpartition("}")[2].lower()
            if event == "start":
                if tag == "property" and (name := element.get("name")):
                    parts.append(f"{name}=")
                continue
            parts.append(element.text or "")
            if tag in _LINES:
                parts.append("\n")
            elif tag in ("c", "v", "tc"):
                parts.append(" ")
            parts.append(element.tail or "")
            element.clear()
    except (ParseError, DefusedXmlException, *_BROKEN):
        return "".join(parts), False
    return "".join(parts), True


def read_pdf(data: bytes, where: str, budget: Budget) -> None:
    """Add the text of a PDF's pages and its properties."""
    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            budget.unreadable(where, "encrypted")
            return
        info: dict[str, Any] = dict(reader.metadata or {})
        budget.add(
            f"{where}!properties", "\n".join(f"{key}: {value}" for key, value in list(info.items())[:100])
        )
        for number, page in enumerate(reader.pages, 1):
            if number > budget.limits.pages:
                budget.too_large(where, "pages")
                return
            if not budget.add(f"{where}!page {number}", page.extract_text()):
                return
    except (PyPdfError, *_BROKEN):
        budget.unreadable(where, "pdf")


def read_picture(data: bytes, where: str, budget: Budget) -> None:
    """Add what a picture's metadata says: EXIF, XMP, PNG text. Pixels are not decoded."""
    found: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as picture:
                exif = picture.getexif()
                for group in (exif, exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)):
                    found += [
                        f"{ExifTags.TAGS.get(tag, tag)}: {_shown(value)}" for tag, value in group.items()
                    ]
                found += [
                    f"{key}: {_shown(value)}"
                    for key, value in picture.info.items()
                    if key not in ("exif", "icc_profile")
                ]
    except (Image.DecompressionBombError, *_BROKEN):
        budget.unreadable(where, "picture")
    budget.add(f"{where}!metadata", "\n".join(found)[:_PICTURE_TEXT])


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return value[:_PICTURE_TEXT].removeprefix(b"ASCII\0\0\0").decode("utf-8", "replace").replace("\0", "")
    return str(value)[:_PICTURE_TEXT]
