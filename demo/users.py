"""Who asks: users that the proxy tells apart by what they send, and what each of them is owed."""

from __future__ import annotations

from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["member", "visitor", "employee", "private"]

EMPLOYEE = {"x-employee": "true"}
PRIVATE = {"x-no-shadow": "true"}
FLAGGED = "canary"
"""The backend to which demo/understudy.yaml sends employees."""

ONE_IN: dict[Kind, int] = {"employee": 20, "private": 25, "visitor": 5}
"""One user in so many is of this kind; the others are members."""


class User:
    """One user.

    A member is known by an id in a header, a visitor by the cookie that the proxy gave him; an employee has a flag that
    sends him to the canary, a private user one that keeps every shadow from hearing him.

    Mutable: `backend`, who answered the first time and so must answer always; `cookie`, what the proxy gave.
    """

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind
        self.backend = FLAGGED if kind == "employee" else ""
        self.cookie = ""

    def headers(self) -> dict[str, str]:
        """What this user's requests say."""
        if self.kind == "visitor":
            return {"cookie": self.cookie} if self.cookie else {}
        flags = {"employee": EMPLOYEE, "private": PRIVATE}.get(self.kind, {})
        return {"x-user-id": self.name, **flags}

    def answered(self, backend: str, set_cookie: str | None) -> str | None:
        """Take note of who answered; a complaint where it should have been somebody else."""
        if set_cookie is not None:
            if self.cookie:
                return "a visitor with a cookie was given another one"
            self.cookie = set_cookie.partition(";")[0]
        if not self.backend:
            self.backend = backend
        if backend != self.backend:
            what = "a flag" if self.kind == "employee" else "the first answer"
            return f"{self.kind} {self.name} belongs to {self.backend} by {what}, and {backend} answered"
        return None


def crowd(count: int) -> list[User]:
    """So many users of all kinds, evenly mixed."""
    return [User(f"user-{number}", _kind(number)) for number in range(count)]


def _kind(number: int) -> Kind:
    return next((kind for kind, one_in in ONE_IN.items() if number % one_in == one_in - 1), "member")
