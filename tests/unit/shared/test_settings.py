import re
from pathlib import Path

import pytest

from restow.errors import BadInputError
from restow.runtime.settings import PREFIX, READ_ELSEWHERE, Settings, read_settings, unknown_variables
from restow_api.settings import ApiSettings

DESCRIBED = Path(__file__).parents[3] / "docs" / "settings.md"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("RESTOW_HTTP_PORT", "many", "valid integer"),
        ("RESTOW_HTTP_PORT", "70000", "less than or equal to 65535"),
        ("RESTOW_KAFKA_BOOTSTRAP", "broker", "HOST:PORT"),
        ("RESTOW_KAFKA_CA_FILE", "/nowhere/ca.pem", "a readable file"),
        ("RESTOW_LOG_LEVEL", "loud", "'debug', 'info'"),
        ("RESTOW_LOG_LEVEL", "trace", "'debug', 'info', 'warning' or 'error'"),
        ("RESTOW_KAFKA_GROUP_PREFIX", "two words", "[A-Za-z0-9._-]"),
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


def test_a_variable_that_no_setting_knows_is_named_with_the_closest_that_one_does():
    given = {
        "RESTOW_LOG_LVEL": "debug", "RESTOW_OPENSTACK_FIEL": "x", "RESTOW_NEVER_HEARD_OF_SUCH_A_THING": "1",
        "HOME": "/", "RESTOW_HTTP_PORT": "1", "RESTOW_URL": "http://x", "RESTOW_EXECUTOR_IDLE_S": "1",
    }  # fmt: skip
    assert unknown_variables(given) == {
        "RESTOW_LOG_LVEL": "RESTOW_LOG_LEVEL", "RESTOW_OPENSTACK_FIEL": "RESTOW_OPENSTACK_FILE",
        "RESTOW_NEVER_HEARD_OF_SUCH_A_THING": "",
    }  # fmt: skip


def test_what_kubernetes_tells_of_a_service_of_that_name_is_no_setting_of_ours():
    of_kubernetes = {
        "RESTOW_API_SERVICE_HOST": "10.0.0.1", "RESTOW_API_SERVICE_PORT": "80", "RESTOW_API_SERVICE_PORT_HTTP": "80",
        "RESTOW_API_PORT": "tcp://10.0.0.1:80", "RESTOW_API_PORT_80_TCP": "tcp://10.0.0.1:80",
        "RESTOW_API_PORT_80_TCP_ADDR": "10.0.0.1",
    }  # fmt: skip
    assert unknown_variables(of_kubernetes) == {}
    assert unknown_variables({"RESTOW_HTP_PORT": "8080"}) == {"RESTOW_HTP_PORT": "RESTOW_HTTP_PORT"}


def test_every_setting_that_is_described_is_known_and_every_known_one_described():
    known = READ_ELSEWHERE | {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert known == set(re.findall(r"^\| `(RESTOW_\w+)`", DESCRIBED.read_text(), re.MULTILINE))
    assert known >= {f"{PREFIX}{name.upper()}" for name in ApiSettings.model_fields}
