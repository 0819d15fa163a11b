import os, pytest, yaml
from pathlib import Path
from support.installed import *
from support.installed import _values
@pytest.fixture(scope="session")
def installed():
    f=Path('/tmp/hk/secrets'); return Installed(Cluster(os.environ, lab=Path('/tmp/hk/lab')), f, (f/'key').read_text(), _values())
