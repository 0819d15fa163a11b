"""A volume for every claim that waits: a folder."""

import os
import shutil
import time

from api import DIR, call, get, log


def claims():
    """a volume for every claim that waits; a folder of DIR"""
    while True:
        try:
            for c in call("GET", "/api/v1/persistentvolumeclaims")["items"]:
                m = c["metadata"]
                n = "pvc-" + m["uid"]
                if (
                    c["status"].get("phase") == "Pending"
                    and not c["spec"].get("volumeName")
                    and not m.get("deletionTimestamp")
                    and not get(f"/api/v1/persistentvolumes/{n}")
                ):
                    call(
                        "POST",
                        "/api/v1/persistentvolumes",
                        {
                            "metadata": {"name": n},
                            "spec": {
                                "capacity": c["spec"]["resources"]["requests"],
                                "accessModes": c["spec"]["accessModes"],
                                "persistentVolumeReclaimPolicy": "Retain",
                                "storageClassName": c["spec"].get("storageClassName", ""),
                                "hostPath": {"path": os.path.abspath(f"{DIR}/pv/{n}")},
                                "claimRef": {
                                    "apiVersion": "v1",
                                    "kind": "PersistentVolumeClaim",
                                    "namespace": m["namespace"],
                                    "name": m["name"],
                                    "uid": m["uid"],
                                },
                            },
                        },
                    )
            for v in call("GET", "/api/v1/persistentvolumes")["items"]:
                if v["status"].get("phase") == "Released" and v["metadata"]["name"].startswith("pvc-"):
                    call("DELETE", f"/api/v1/persistentvolumes/{v['metadata']['name']}")
                    shutil.rmtree(v["spec"]["hostPath"]["path"], ignore_errors=True)
        except Exception as e:
            log("claims:", repr(e))
        time.sleep(1)
