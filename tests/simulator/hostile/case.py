"""What a hostile program is: a source with holes for what it attacks, and how it has to end."""

from __future__ import annotations

from dataclasses import dataclass

#: Marks in a source, replaced by what the test set up.
HOLES = ("CANARY", "FOLDER", "PORT", "SOCKET", "PARENT", "ZYGOTE")


@dataclass(frozen=True)
class Case:
    """One hostile program.

    Attributes:
        name: a short name.
        source: its text. It runs without any guard and with all of Python at hand; whatever it
            gets hold of goes into RESULT, which is sent back. `@CANARY@` is the path of a secret
            file, `@FOLDER@` its folder, `@PORT@` and `@SOCKET@` a listener's, `@PARENT@` and
            `@ZYGOTE@` process numbers.
        ends: codes with which the sandbox may refuse it; "document" when it may come to an end.
        result: what RESULT must be where it ends in a document; None to accept any harmless one.
        judged: what the parent's reader has to say of the document: "" for nothing (it is no
            program), "refused", or "bounded" where it may be accepted and then must run.
    """

    name: str
    source: str
    ends: tuple[str, ...] = ("trace",)
    result: object = None
    judged: str = ""

    def fill(self, values: dict[str, object]) -> str:
        """The source with its holes filled."""
        source = self.source
        for hole in HOLES:
            source = source.replace(f"@{hole}@", str(values[hole]))
        return source
