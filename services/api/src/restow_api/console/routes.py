from fastapi import APIRouter

from restow_api.access import GuardedRoute

router = APIRouter(route_class=GuardedRoute)
