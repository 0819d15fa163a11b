"""Every symptom, one file each. To add one: write its file, name it here and in `restow.policy.Symptom`, test it."""

from restow_detector.symptoms.base import Change, Measured
from restow_detector.symptoms.failed_host import FailedHost
from restow_detector.symptoms.hot_host import HotHost
from restow_detector.symptoms.imbalance import Imbalance
from restow_detector.symptoms.returned_host import ReturnedHost
from restow_detector.symptoms.underused_hosts import UnderusedHosts

MEASURED: tuple[Measured, ...] = (HotHost(), Imbalance(), UnderusedHosts())
FAILED_HOST: Change = FailedHost()
RETURNED_HOST: Change = ReturnedHost()
SYMPTOMS: tuple[Measured | Change, ...] = (FAILED_HOST, RETURNED_HOST, *MEASURED)
