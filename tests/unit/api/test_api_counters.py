"""What the api counts is there before it happens: who watches for an increase sees the first one."""

from prometheus_client import generate_latest

from restow_api.metrics import GUARDS
from restow_detector import blast_radius, maintenance
from restow_planner.guards import GUARDS as OF_THE_PLANNER
from restow_planner.guards.cool_down import GUARD as COOL_DOWN
from support.front_door import StillPort, a_front_door, small_cloud


async def test_every_counter_of_a_domain_starts_at_zero(tmp_path):
    async with a_front_door(tmp_path, clouds=(StillPort(small_cloud("never-counted")),)):
        pass
    told = generate_latest().decode().splitlines()
    for line in (
        'restow_refusals_total{domain="never-counted",guard="blast-radius"} 0.0',
        'restow_refusals_total{domain="never-counted",guard="fence"} 0.0',
        'restow_refusals_total{domain="never-counted",guard="cloud-unreachable"} 0.0',
        'restow_steps_total{action="evacuate",domain="never-counted",end="failed"} 0.0',
        'restow_plans_total{domain="never-counted",goal="recover",state="failed"} 0.0',
    ):
        assert line in told
    assert any(line.startswith('restow_incident_reaction_seconds_count{symptom="failed-host"}') for line in told)
    assert any(line.startswith('restow_step_seconds_count{action="fence"}') for line in told)


def test_the_guards_that_services_name_are_among_those_that_start_at_zero():
    named = {blast_radius.GUARD, maintenance.GUARD, COOL_DOWN, *(guard.name for guard in OF_THE_PLANNER)}
    assert named <= set(GUARDS)
