"""The policy: read, put, validated. Bodies are JSON or YAML."""

from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Header, Request, Response

from restow.policy import Policy, parse_policy
from restow_api.access import Door, GuardedRoute
from restow_api.http import answer, json_body, media_type, problems
from restow_api.models import Valid
from restow_api.openapi import body
from restow_api.policies import policy_in_force, version_of
from restow_api.problems import ProblemError
from restow_api.routes.common import asked

router = APIRouter(route_class=GuardedRoute, tags=["policies"])

YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
YAML_SCHEMA: dict[str, Any] = {"schema": {"type": "string"}}
_BODY = body("Policy", "application/json")


@router.get("/v1/policies", response_model=Policy, responses={200: {"content": {"application/yaml": YAML_SCHEMA}}})
async def read(request: Request, front: Door) -> Response:
    """The policy in force, `restow.policy/1`; as YAML with `Accept: application/yaml`. Its version is the ETag."""
    return _shown(request, await policy_in_force(front.database))


@router.put("/v1/policies", response_model=Policy, responses=problems(412), openapi_extra=_BODY)
async def put(
    request: Request, front: Door, if_match: Annotated[str | None, Header(alias="If-Match", max_length=100)] = None
) -> Response:
    """Put a policy in force, whole. With `If-Match` only in place of that version."""
    policy = await _policy_of(request)
    return _shown(request, await front.put_policy(asked(request), policy, if_match=if_match))


@router.post("/v1/policies/validate", response_model=Valid, openapi_extra=_BODY)
async def validate(request: Request, front: Door) -> Response:
    """Whether this policy could be put; 422 with every wrong field if not."""
    policy = await _policy_of(request)
    front.check_policy(policy)
    return answer({"valid": True, "warnings": list(policy.warnings())})


async def _policy_of(request: Request) -> Policy:
    if media_type(request) in YAML_TYPES:
        return policy_of_yaml(await request.body())
    if media_type(request) != "application/json":
        raise ProblemError(415, "the Content-Type must be application/json or application/yaml")
    return parse_policy(await json_body(request))


def policy_of_yaml(text: bytes) -> Policy:
    """Raises ProblemError (400), BadInputError."""
    try:
        return parse_policy(text.decode())
    except (UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, f"the body is not YAML: {error}") from error


def as_yaml(policy: Policy) -> str:
    return yaml.safe_dump(policy.dump(), sort_keys=False, allow_unicode=True)


def _shown(request: Request, policy: Policy) -> Response:
    headers = {"ETag": version_of(policy)}
    if any(kind in request.headers.get("Accept", "") for kind in YAML_TYPES):
        return Response(as_yaml(policy), headers=headers, media_type="application/yaml")
    return answer(policy.dump(), headers=headers)
