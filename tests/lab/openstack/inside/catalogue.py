"""Register services in Keystone: catalogue.py TYPE=URL …; or make flavors and an image: catalogue.py images."""

import sys

import openstack

FLAVORS = {"small": (1, 2048, 10), "medium": (2, 4096, 20), "large": (4, 8192, 40), "huge": (16, 32768, 100)}


def endpoint(cloud: openstack.connection.Connection, kind: str, url: str) -> None:
    service = next(iter(cloud.identity.services(type=kind)), None)
    service = service or cloud.identity.create_service(name=kind, type=kind)
    for interface in ("public", "internal", "admin"):
        if not next(iter(cloud.identity.endpoints(service_id=service.id, interface=interface)), None):
            cloud.identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id="RegionOne")


def images(cloud: openstack.connection.Connection) -> None:
    known = {flavor.name for flavor in cloud.compute.flavors()}
    for name, (vcpus, ram, disk) in FLAVORS.items():
        if name not in known:
            cloud.compute.create_flavor(name=name, vcpus=vcpus, ram=ram, disk=disk)
    if not next(iter(cloud.image.images()), None):
        cloud.image.create_image(name="tiny", filename=__file__, disk_format="raw", container_format="bare", wait=True)


def main() -> None:
    cloud = openstack.connect(cloud="lab")
    if sys.argv[1:] == ["images"]:
        images(cloud)
        return
    for pair in sys.argv[1:]:
        endpoint(cloud, *pair.split("=", 1))


main()
