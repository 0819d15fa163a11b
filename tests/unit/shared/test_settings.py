import pytest

from restow.errors import BadInputError
from restow.runtime.settings import read_settings


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("RESTOW_HTTP_PORT", "many", "valid integer"),
        ("RESTOW_HTTP_PORT", "70000", "less than or equal to 65535"),
        ("RESTOW_KAFKA_BOOTSTRAP", "broker", "HOST:PORT"),
        ("RESTOW_KAFKA_CA_FILE", "/nowhere/ca.pem", "a readable file"),
        ("RESTOW_LOG_LEVEL", "loud", "'debug', 'info'"),
        ("RESTOW_OTLP_ENDPOINT", "collector:4318", "http://"),
        ("RESTOW_KAFKA_REPLICATION", "0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_variable_value_and_what_is_expected(variable, value, expected):
    with pytest.raises(BadInputError) as error:
        read_settings({variable: value})
    (line,) = error.value.errors
    assert (line.field, line.value) == (variable, value)
    assert expected in line.expected


def test_a_broker_that_wants_a_name_is_not_asked_without_one(tmp_path):
    given = {"RESTOW_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
    with pytest.raises(BadInputError, match="RESTOW_KAFKA_USERNAME and RESTOW_KAFKA_PASSWORD"):
        read_settings(given)
    (tmp_path / "password").write_text("pears\n")
    settings = read_settings(
        {**given, "RESTOW_KAFKA_USERNAME": "restow", "RESTOW_KAFKA_PASSWORD_FILE": f"{tmp_path}/password"}
    )
    assert settings.password() == "pears"


def test_secrets_are_not_shown():
    settings = read_settings({"RESTOW_DATABASE_URL": "postgresql://a:pears@db/x", "RESTOW_KAFKA_PASSWORD": "plums"})
    assert "pears" not in repr(settings)
    assert "plums" not in repr(settings)
    assert settings.database() == "postgresql://a:pears@db/x"


def test_no_database_is_named_as_such():
    with pytest.raises(BadInputError, match=r"RESTOW_DATABASE_URL: got '\(absent\)'"):
        read_settings({}).database()
