"""What each user of the demo is owed, and how it comes to light when he does not get it."""

from __future__ import annotations

from collections import Counter

from demo.users import User, crowd


def test_a_crowd_has_some_of_everybody() -> None:
    count = Counter(user.kind for user in crowd(400))

    assert count["employee"] == 20
    assert min(count["private"], count["visitor"]) >= 10
    assert count["member"] > 300
    assert len({user.name for user in crowd(400)}) == 400


def test_a_member_stays_where_he_was_first() -> None:
    user = User("user-1", "member")

    assert user.headers() == {"x-user-id": "user-1"}
    assert user.answered("canary", None) is None
    assert user.answered("canary", None) is None
    assert user.answered("stable", None) == "member user-1 belongs to canary by the first answer, and stable answered"


def test_an_employee_belongs_to_the_canary_from_the_first_answer() -> None:
    user = User("user-19", "employee")

    assert user.headers() == {"x-user-id": "user-19", "x-employee": "true"}
    assert user.answered("stable", None) == "employee user-19 belongs to canary by a flag, and stable answered"


def test_a_visitor_is_known_by_the_cookie_alone() -> None:
    user = User("user-4", "visitor")
    assert user.headers() == {}

    assert user.answered("stable", "arm=abc.def; Path=/; HttpOnly") is None

    assert user.headers() == {"cookie": "arm=abc.def"}
    assert user.answered("stable", None) is None
    assert user.answered("stable", "arm=other") == "a visitor with a cookie was given another one"


def test_a_private_user_declines() -> None:
    assert User("user-24", "private").headers()["x-no-shadow"] == "true"
