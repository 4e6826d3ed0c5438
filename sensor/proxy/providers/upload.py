"""A request's body that is too large to be held: forms and files, hashed as they pass."""

from __future__ import annotations

from sensor.proxy.providers import body, form
from sensor.proxy.providers.model import Attachment, Request, Text

KEEP = 1 << 20  # bytes of a file's beginning that are kept for its text
_WHOLE = ("json", "x-www-form-urlencoded", "text/")


class Upload:
    """`feed` any portions of the body, then `finish`; or let a request be held and read as a whole."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._kind = body.media_type(request.headers)
        delimiter = form.boundary(request.headers.get("content-type", ""))
        self._form = form.Form(delimiter, KEEP) if self._kind == "multipart/form-data" else None
        self._file = form.Part()
        self.size = 0

    @staticmethod
    def reads(request: Request) -> bool:
        """Whether a body of this type says something without being whole."""
        kind = body.media_type(request.headers)
        return bool(kind) and not any(part in kind for part in _WHOLE)

    def feed(self, data: bytes) -> None:
        """The next bytes of the body, without content coding."""
        self.size += len(data)
        if self._form:
            self._form.feed(data)
        else:
            self._file.add(data, KEEP)

    def finish(self) -> tuple[list[Text], list[Attachment], bool]:
        """Text fields (which cannot be rewritten any more), files, and whether something was not read."""
        if not self._form:
            one = self._file
            name = body.name_of(self._request)[:255]
            return [], [Attachment(name, self._kind, one.size, one.hash.hexdigest(), bytes(one.data))], False
        texts, files = [], list[Attachment]()
        for place, part in enumerate(self._form.finish()):
            value = body.field_or_file(part, place, files)
            if isinstance(value, str) and value:
                texts.append(Text(None, value, "user" if part.name == "prompt" else "other"))
        return texts, files, self._form.cut
