"""The endpoints, one file for each part of the front door. To add one: its file here, its line in access.py."""

from fastapi import APIRouter

from restow_api.routes import audit, cloud, events, health, incidents, keys, plans, policies, signals, simulation

ROUTERS: tuple[APIRouter, ...] = (
    health.router, cloud.router, plans.router, incidents.router, events.router, policies.router, audit.router,
    simulation.router, signals.router, keys.router,
)  # fmt: skip
