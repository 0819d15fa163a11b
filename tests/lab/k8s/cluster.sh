#!/usr/bin/env bash
# A real Kubernetes control plane and one node whose pods are processes of this machine, in a network of their own with no way out.
#   cluster.sh up DIR                        prints the path of its kubeconfig; RUN names the file that says what images are
#   cluster.sh down DIR
#   cluster.sh net DIR CMD...                a command in the cluster's network: addresses of pods and services, and names
#   cluster.sh forward DIR NAMESPACE SERVICE PORT LOCALPORT     in the foreground
# The binaries are in BIN (default ~/.cache/k8s-lab/bin); build.sh makes them. Needs root, iptables, openssl, curl. Exit code 3 and one
# line for want of them.
set -euo pipefail; umask 022
here=$(cd "$(dirname "$0")" && pwd); BIN=${BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/k8s-lab/bin}; PATH=$BIN:$PATH
cmd=${1:?up, down, net or forward}; d=${2:-${TMPDIR:-/tmp}/k8s-lab}
names="kubelet kube-proxy kube-scheduler kube-controller-manager forward kube-apiserver etcd net"
freeport() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
bg() { local n=$1; shift; setsid "$@" >"$d/$n.log" 2>&1 </dev/null & echo $! >"$d/$n.pid"; }
wait_for() { local n=$1 t=$2; shift 2; for _ in $(seq 1 $((t * 10))); do "$@" >/dev/null 2>&1 && return 0
    kill -0 "$(cat "$d/$n.pid")" 2>/dev/null || break; sleep 0.1; done; echo "$n did not come up:" >&2; tail -20 "$d/$n.log" >&2; return 1; }
ns() { if [ -f "$d/net.pid" ]; then nsenter --net="/proc/$(cat "$d/net.pid")/ns/net" -- "$@"; else "$@"; fi; }
kubeconfig() { cat >"$1" <<K
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "$2", certificate-authority: "$d/certs/ca.crt"}}]
users: [{name: admin, user: {token: $3}}]
contexts: [{name: lab, context: {cluster: lab, user: admin}}]
current-context: lab
K
  chmod 600 "$1"; }
certs() { cd "$d/certs"; local new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
  openssl req -x509 $new -days 30 -subj /CN=lab-ca -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.crt
  openssl req $new -subj /CN=kube-apiserver -keyout tls.key -out tls.csr
  printf '%s\n' basicConstraints=CA:FALSE keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth subjectKeyIdentifier=hash authorityKeyIdentifier=keyid \
    subjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:10.96.0.1,IP:10.87.0.1 >ext
  openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out tls.crt
  openssl genrsa -out sa.key 2048; chmod 600 *.key; cd "$here"; }

need() { for c in etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl iptables openssl curl nsenter; do
    command -v $c >/dev/null || { echo "missing: $c (build.sh all makes Kubernetes; apt-get install iptables)" >&2; exit 3; }; done
  [ "$(id -u)" = 0 ] || { echo "missing: root, for the node's namespaces" >&2; exit 3; }; }
up() { need
  local e p a h t bind adv; [ ! -e "$d" ] || [ -f "$d/.k8s-lab" ] || { echo "$d exists and is not mine" >&2; exit 1; }
  [ ! -f "$d/.k8s-lab" ] || down; mkdir -p "$d/certs"; d=$(cd "$d" && pwd); touch "$d/.k8s-lab"; trap '[ $? = 0 ] || echo "logs: $d" >&2' EXIT
  e=$(freeport); p=$(freeport); a=$(freeport); t=$(openssl rand -hex 16); certs 2>/dev/null
  (umask 077; echo "$t,admin,admin-uid,system:masters" >"$d/tokens.csv")
    RUN=$(realpath "${RUN:?the file that says what images are}")
    bg net unshare -n sleep infinity; wait_for net 5 sh -c "[ \$(readlink /proc/$(cat "$d/net.pid")/ns/net) != \$(readlink /proc/$$/ns/net) ]"
    ns sh -c 'ip link set lo up; ip addr add 10.87.0.1/32 dev lo; ip addr add 169.254.1.1/32 dev lo; ip route add 10.96.0.0/16 dev lo src 10.87.0.1; echo 1 >/proc/sys/net/ipv4/ip_forward'
    h=$a; a=6443; bind=0.0.0.0; adv=10.87.0.1; printf 'search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 169.254.1.1\noptions ndots:5\n' >"$d/resolv.conf"
    bg forward python3 "$here/forward.py" "127.0.0.1:$h" "$(cat "$d/net.pid")" "10.87.0.1:$a"
  kubeconfig "$d/kubeconfig" "https://127.0.0.1:$h" "$t"; kubeconfig "$d/kubeconfig.node" "https://$adv:$a" "$t"; export KUBECONFIG=$d/kubeconfig
  nsbg() { local n=$1; shift; if [ -f "$d/net.pid" ]; then bg "$n" nsenter --net="/proc/$(cat "$d/net.pid")/ns/net" -- "$@"; else bg "$n" "$@"; fi; }
  nsbg etcd etcd --name default --data-dir "$d/etcd" --unsafe-no-fsync --listen-client-urls "http://127.0.0.1:$e" --advertise-client-urls "http://127.0.0.1:$e" \
     --listen-peer-urls "http://127.0.0.1:$p" --initial-advertise-peer-urls "http://127.0.0.1:$p" --initial-cluster "default=http://127.0.0.1:$p" --log-level warn
  wait_for etcd 30 ns curl -sf -m 1 "http://127.0.0.1:$e/health"
  nsbg kube-apiserver kube-apiserver --etcd-servers="http://127.0.0.1:$e" --bind-address=$bind --advertise-address=$adv --secure-port="$a" --tls-cert-file="$d/certs/tls.crt" --tls-private-key-file="$d/certs/tls.key" \
     --authorization-mode=Node,RBAC --token-auth-file="$d/tokens.csv" --service-cluster-ip-range=10.96.0.0/16 --kubelet-preferred-address-types=InternalIP --feature-gates=TranslateStreamCloseWebsocketRequests=false \
     --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$d/certs/sa.key" --service-account-signing-key-file="$d/certs/sa.key" --allow-privileged=true --profiling=false ${APISERVER_FLAGS:-}
  wait_for kube-apiserver 120 kubectl get --raw /readyz
  nsbg kube-controller-manager kube-controller-manager --kubeconfig="$d/kubeconfig.node" --service-account-private-key-file="$d/certs/sa.key" --root-ca-file="$d/certs/ca.crt" \
     --leader-elect=false --secure-port=0 --use-service-account-credentials=false
  nsbg kube-scheduler kube-scheduler --kubeconfig="$d/kubeconfig.node" --authentication-kubeconfig="$d/kubeconfig.node" --authorization-kubeconfig="$d/kubeconfig.node" --leader-elect=false --secure-port=0
    nsbg kubelet python3 "$here/node" "$d/kubeconfig.node" node-1 --run "$RUN" --dir "$d" --node-ip 10.87.0.1 --cert "$d/certs/tls.crt" --key "$d/certs/tls.key"
    nsbg kube-proxy kube-proxy --kubeconfig="$d/kubeconfig.node" --hostname-override=node-1 --proxy-mode=iptables --cluster-cidr=10.88.0.0/16 --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
    kubectl apply -f - >/dev/null <<'S'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: lab/folder
S
  wait_for kubelet 60 sh -c 'kubectl get node node-1 -o jsonpath="{.status.conditions[?(@.type==\"Ready\")].status} {.spec.taints}" | grep -qx "True "'
  wait_for kube-controller-manager 60 kubectl get serviceaccount default
  wait_for kube-proxy 60 ns sh -c 'iptables-save -t nat | grep -q KUBE-SVC'
  echo "$d/kubeconfig"
}
down() { [ -f "$d/.k8s-lab" ] || { echo "nothing in $d" >&2; return 0; }
  for n in $names; do [ -f "$d/$n.pid" ] || continue; kill "$(cat "$d/$n.pid")" 2>/dev/null || continue
    [ $n != kubelet ] || for _ in $(seq 1 120); do kill -0 "$(cat "$d/$n.pid")" 2>/dev/null || break; sleep 0.1; done; done
  for n in $names; do [ -f "$d/$n.pid" ] || continue
    for _ in $(seq 1 50); do kill -0 "$(cat "$d/$n.pid")" 2>/dev/null || break; sleep 0.1; done; kill -9 "$(cat "$d/$n.pid")" 2>/dev/null || true; done
  [ ! -f "$d/kubelet.pid" ] || for n in /sys/fs/cgroup/{memory,cpu}/k8slab-"$(cat "$d/kubelet.pid")"; do [ ! -d "$n" ] || find "$n" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
  rm -rf "$d"; }
net() { shift 2; exec nsenter --net="/proc/$(cat "$d/net.pid")/ns/net" -- unshare -m sh -c 'mount --bind "$0" "$(realpath /etc/resolv.conf)"; exec "$@"' "$d/resolv.conf" "$@"; }
forward() { local ip; ip=$(KUBECONFIG=$d/kubeconfig kubectl get service -n "$3" "$4" -o jsonpath='{.spec.clusterIP}'); exec python3 "$here/forward.py" "127.0.0.1:$6" "$(cat "$d/net.pid")" "$ip:$5"; }
case $cmd in up | down) $cmd ;; net | forward) $cmd "$@" ;; *) exit 2 ;; esac
