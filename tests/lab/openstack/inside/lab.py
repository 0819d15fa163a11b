"""A virt driver of Nova without a hypervisor: nova's own FakeDriver, and what healing and rearranging need beyond it.

* capacity by host, from [lab] of its nova.conf;
* the identity that Nova keeps in <state_path>/compute_id: FakeDriver makes one up, and Nova refuses it after a restart;
* guests that outlive the process, in <state_path>/guests.json, as those of a real hypervisor do;
* live migrations that take time, tell their progress, can be aborted or forced to their end, and can fail.

A server's metadata choose, so that a test can do it through the public API:

    lab_live_migration_seconds   how long it takes
    lab_live_migration_fail      "true": it fails half-way and rolls back
    lab_live_migration_break     "true", or the name of a target: it breaks; Nova says error of a server that runs
    lab_spawn_seconds            how long its start takes (boot, evacuation)
    lab_spawn_fail               "true", or the name of the host where it fails
"""

import json
import threading
import time
from pathlib import Path

import nova.conf
import nova.virt.node
from nova import exception
from nova.virt import fake
from oslo_config import cfg

CONF = nova.conf.CONF
CONF.register_opts(
    [
        cfg.IntOpt("vcpus", default=16),
        cfg.IntOpt("memory_mb", default=65536),
        cfg.IntOpt("local_gb", default=1000),
        cfg.FloatOpt("live_migration_seconds", default=2.0),
        cfg.FloatOpt("spawn_seconds", default=0.0),
    ],
    group="lab",
)
TELL_S = 1.0  # how often a migration tells its progress


def chosen(instance, key, default):
    return (instance.metadata or {}).get(key, default)


class LabDriver(fake.FakeDriver):
    def __init__(self, virtapi, read_only=False):
        self.vcpus = CONF.lab.vcpus
        self.memory_mb = CONF.lab.memory_mb
        self.local_gb = CONF.lab.local_gb
        super().__init__(virtapi, read_only)
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._orders = {}  # of live migrations: None, "complete" or "abort"
        self._file = Path(CONF.state_path) / "guests.json"

    # --- identity, and guests that survive ---

    def init_host(self, host):
        self._host = host
        self._set_nodes([host])
        guests = json.loads(self._file.read_text()) if self._file.exists() else {}
        for uuid, (name, state) in guests.items():
            self.instances[uuid] = fake.FakeInstance(name, state, uuid)

    def _save(self):
        with self._lock:
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps({uuid: (one.name, one.state) for uuid, one in self.instances.items()}))
            new.rename(self._file)

    def get_available_resource(self, nodename):
        resources = super().get_available_resource(nodename)
        if resources:
            resources["uuid"] = nova.virt.node.get_local_node_uuid()
            told = self._file.with_name("cpu.json")  # what a test says that this machine's processor is
            resources["cpu_info"] = told.read_text() if told.exists() else resources["cpu_info"]
        return resources

    def get_nodenames_by_uuid(self, refresh=False):
        return {nova.virt.node.get_local_node_uuid(): self._host}

    def get_host_uptime(self):
        minutes = int(time.monotonic() - self._began) // 60
        return f" {time.strftime('%H:%M:%S')} up {minutes} min,  0 users,  load average: 0.00, 0.00, 0.00"

    def instance_on_disk(self, instance):
        return True  # as with shared storage: an evacuated guest's disk is there already

    # --- guests ---

    def spawn(self, context, instance, *args, **kwargs):
        if chosen(instance, "lab_spawn_fail", "") in ("true", self._host):
            raise exception.InstanceDeployFailure(reason=f"lab_spawn_fail on {self._host}")
        time.sleep(float(chosen(instance, "lab_spawn_seconds", CONF.lab.spawn_seconds)))
        super().spawn(context, instance, *args, **kwargs)
        self._save()

    def destroy(self, context, instance, *args, **kwargs):
        super().destroy(context, instance, *args, **kwargs)
        self._save()

    def power_off(self, instance, *args, **kwargs):
        super().power_off(instance, *args, **kwargs)
        self._save()

    def power_on(self, context, instance, *args, **kwargs):
        super().power_on(context, instance, *args, **kwargs)
        self._save()

    def migrate_disk_and_power_off(self, context, instance, *args, **kwargs):
        self.power_off(instance)  # FakeDriver leaves it running while it is moved cold

    def finish_revert_migration(self, *args, **kwargs):
        super().finish_revert_migration(*args, **kwargs)
        self._save()

    # --- live migration ---

    def live_migration(
        self, context, instance, dest, post_method, recover_method, block_migration=False, migrate_data=None
    ):
        if chosen(instance, "lab_live_migration_break", "") in ("true", dest):
            raise exception.InternalError("lab_live_migration_break")
        outcome = self._copied(instance, migrate_data.migration)
        if outcome == "complete":
            post_method(context, instance, dest, block_migration, migrate_data)
            return
        status = "cancelled" if outcome == "abort" else "failed"
        recover_method(context, instance, dest, migrate_data, migration_status=status)

    def _copied(self, instance, migration):
        """Let the time pass; how it ended."""
        seconds = float(chosen(instance, "lab_live_migration_seconds", CONF.lab.live_migration_seconds))
        fails = chosen(instance, "lab_live_migration_fail", "") == "true"
        memory = instance.flavor.memory_mb << 20
        self._orders[instance.uuid] = None
        began = told = time.monotonic()
        try:
            while (passed := time.monotonic() - began) < seconds:
                if fails and passed >= seconds / 2:
                    return "failed"
                time.sleep(min(0.1, seconds - passed))
                if order := self._orders[instance.uuid]:
                    return order
                if time.monotonic() - told >= TELL_S:
                    told = time.monotonic()
                    migration.memory_total = memory
                    migration.memory_processed = int(memory * min(1, (told - began) / seconds))
                    migration.memory_remaining = memory - migration.memory_processed
                    migration.save()
            return "complete"
        finally:
            self._orders.pop(instance.uuid, None)

    def live_migration_force_complete(self, instance):
        if instance.uuid in self._orders:
            self._orders[instance.uuid] = "complete"

    def live_migration_abort(self, instance):
        if instance.uuid in self._orders:
            self._orders[instance.uuid] = "abort"

    def post_live_migration(self, context, instance, block_device_info, migrate_data=None):
        self.destroy(context, instance, network_info=None, block_device_info=block_device_info)  # it is gone from here

    def post_live_migration_at_source(self, context, instance, network_info):
        pass
