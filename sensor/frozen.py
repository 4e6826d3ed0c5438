"""Frozen dataclasses that cost less: `from sensor.frozen import dataclass`, then as ever.

For a type checker this *is* `dataclasses.dataclass`, so assignment to a field is refused there. At run time
nothing enforces it: a frozen dataclass sets each field by `object.__setattr__`, which makes an object of nine
fields six times as dear, and there is one for every packet that matters. Each method that `dataclasses`
writes is source text to compile as well, a third of a short run's start; so all but `__init__` is made here,
of what it made of the fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses
    from operator import attrgetter

    def dataclass(*, frozen, slots):
        """For `@dataclass(frozen=True, slots=True)` and nothing else."""
        if not (frozen and slots):
            raise TypeError("a dataclass that is not frozen, or has no slots, is one of `dataclasses`")
        return _made

    def _made(cls):
        cls.__doc__ = cls.__doc__ or cls.__name__  # else `dataclasses` has a signature written for it
        made = dataclasses.dataclass(slots=True, eq=False, repr=False)(cls)
        fields = dataclasses.fields(made)
        shown = tuple(field.name for field in fields if field.repr)
        values = attrgetter(*(field.name for field in fields if field.compare))

        def equal(self, other):
            return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

        def hashed(self):
            return hash(values(self))

        def text(self):
            given = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
            return f"{self.__class__.__qualname__}({given})"

        made.__eq__, made.__hash__, made.__repr__ = equal, hashed, text
        return made
