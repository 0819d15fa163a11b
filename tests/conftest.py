"""Fixtures for every test; those for real parts start nothing until a test asks for them."""

from support.openstack_lab import openstack_lab
from support.real import postgres_url, real_kafka, real_postgres

__all__ = ["openstack_lab", "postgres_url", "real_kafka", "real_postgres"]
