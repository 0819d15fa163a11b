"""The wire does not change by accident: every format and event type has its schema on file.

To change it on purpose: `RESTOW_WRITE_SCHEMAS=1 pytest tests/contract/test_schemas.py`, then read the difference. A
field may be added with a default; a field's name or meaning does not change without a new version.
"""

import json
import os
from pathlib import Path

import jsonschema
import pytest

from restow.messages.schemas import SCHEMAS

FOLDER = Path(__file__).parent / "schemas"


def file_of(name: str) -> Path:
    return FOLDER / f"{name.replace('/', '-')}.json"


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_schema_is_the_one_on_file(name):
    schema = SCHEMAS[name]()
    jsonschema.Draft202012Validator.check_schema(schema)
    text = json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("RESTOW_WRITE_SCHEMAS"):
        FOLDER.mkdir(exist_ok=True)
        file_of(name).write_text(text)
    assert file_of(name).read_text() == text, f"{name} has changed on the wire: see the top of this file"


def test_no_schema_on_file_is_left_behind():
    assert {file.name for file in FOLDER.iterdir()} == {file_of(name).name for name in SCHEMAS}
