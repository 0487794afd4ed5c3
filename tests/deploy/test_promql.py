"""What the other tests believe that an expression names, is what it names."""

from __future__ import annotations

import pytest

from tests.deploy.promql import Expression, Matcher, Selector, parse

UP = Selector("up", (Matcher("job", "=", "a"),))


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("up", Expression((Selector("up"),))),
        (
            'sum by (job, le) (rate(up{job="a"}[5m])) > 1.5e3',
            Expression((UP,), grouped_by=frozenset({"job", "le"})),
        ),
        (
            'up{job="a"} and on (job) max(up offset 5m) == 0',
            Expression((UP, Selector("up")), joined_on=frozenset({"job"})),
        ),
        ("histogram_quantile(0.99, a_bucket[$__rate_interval]) * 14.4", Expression((Selector("a_bucket"),))),
        ("tokenway:x:ratio_rate1h or vector(0)", Expression((Selector("tokenway:x:ratio_rate1h"),))),
        (
            'up{job="a", code!~"B|C,}"}',
            Expression((Selector("up", (*UP.matchers, Matcher("code", "!~", "B|C,}"))),)),
        ),
    ],
)
def test_an_expression_names(expression: str, named: Expression) -> None:
    assert parse(expression) == named


def test_what_cannot_be_read_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="up"):
        parse("sum(#) up")


def test_each_alternative_of_a_matcher_is_looked_for() -> None:
    matcher = Matcher("code", "=~", "OK|UNAVAILABEL")
    assert [any(matcher.matches(code, each) for code in ("OK", "UNAVAILABLE")) for each in matcher.alternatives] == [
        True,
        False,
    ]
