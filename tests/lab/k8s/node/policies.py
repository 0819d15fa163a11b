"""NetworkPolicy as iptables rules of the node's network."""

import ipaddress
import subprocess
import time

from api import GW, call, log, pods


def policies():
    """A chain for each way of each pod that a policy selects. The node itself always gets through."""
    last, most = None, 0

    def fits(s, labels):
        ops = {
            "In": lambda v, x: v in x,
            "NotIn": lambda v, x: v not in x,
            "Exists": lambda v, x: v is not None,
            "DoesNotExist": lambda v, x: v is None,
        }
        return all(labels.get(k) == v for k, v in (s.get("matchLabels") or {}).items()) and all(
            ops[e["operator"]](labels.get(e["key"]), e.get("values") or []) for e in s.get("matchExpressions") or []
        )

    def minus(b):
        out = [ipaddress.ip_network(b["cidr"])]
        for e in map(ipaddress.ip_network, b.get("except") or []):
            out = [y for x in out for y in (x.address_exclude(e) if e.subnet_of(x) else [] if x.subnet_of(e) else [x])]
        return out

    while True:
        try:
            pol = call("GET", "/apis/networking.k8s.io/v1/networkpolicies")["items"]
            live, chains = [], []
            if pol:
                spaces = {
                    n["metadata"]["name"]: n["metadata"].get("labels", {})
                    for n in call("GET", "/api/v1/namespaces")["items"]
                }
                live = [
                    (p.ns, p.obj["metadata"].get("labels", {}), p.ip, p)
                    for p in list(pods.values())
                    if p.ip and p.pause
                ] + [("kube-system", {"k8s-app": "kube-dns"}, GW, None)]
            for ns, labels, ip, pod in live:
                for way, a, b, peers in (("Ingress", "-d", "-s", "from"), ("Egress", "-s", "-d", "to")):
                    mine = [
                        q["spec"]
                        for q in pol
                        if pod
                        and q["metadata"]["namespace"] == ns
                        and fits(q["spec"].get("podSelector", {}), labels)
                        and way in q["spec"].get("policyTypes", ["Ingress"])
                    ]
                    if not mine:
                        continue
                    rules = []
                    for r in (r for q in mine for r in q.get(way.lower()) or []):
                        who = [(None, None)] if not r.get(peers) else []
                        for x in r.get(peers) or []:
                            if "ipBlock" in x:
                                who += [(n, None) for n in minus(x["ipBlock"])]
                            else:
                                who += [
                                    (i, o)
                                    for n, own, i, o in live
                                    if (
                                        fits(x["namespaceSelector"], spaces.get(n, {}))
                                        if "namespaceSelector" in x
                                        else n == ns
                                    )
                                    and fits(x.get("podSelector") or {}, own)
                                ]
                        for addr, other in who:
                            for x in r.get("ports") or [{}]:
                                p, target = x.get("port"), pod if way == "Ingress" else other
                                if isinstance(p, str):
                                    p = next(
                                        (
                                            y["containerPort"]
                                            for c in (target.main if target else [])
                                            for y in c.c.get("ports", [])
                                            if y.get("name") == p
                                        ),
                                        0,
                                    )
                                rules.append(
                                    (f"{b} {addr} " if addr else "")
                                    + (f"-p {x.get('protocol', 'TCP').lower()} " if x else "")
                                    + (
                                        f"--dport {p}:{x['endPort']} "
                                        if x.get("endPort")
                                        else f"--dport {p} "
                                        if p is not None
                                        else ""
                                    )
                                    + "-j RETURN"
                                )
                    chains.append((f"{a} {ip}", sorted(set(rules))))
            if chains == last:
                time.sleep(1)
                continue
            most = max(most, len(chains))
            t = (
                ["*filter", ":NP - [0:0]"]
                + [f":NP-{i} - [0:0]" for i in range(most)]
                + ["-A NP -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"]
            )
            for i, (m, rules) in enumerate(chains):
                t += [f"-A NP {m} -j NP-{i}"] + [f"-A NP-{i} {r}" for r in rules] + [f"-A NP-{i} -j REJECT"]
            subprocess.run(
                ["iptables-restore", "--noflush", "-w", "5"],
                input="\n".join([*t, "COMMIT", ""]),
                text=True,
                check=True,
                capture_output=True,
            )
            for c in (["FORWARD", "-j", "NP"], ["INPUT", "-s", "10.88.0.0/16", "-j", "NP"]):
                subprocess.run(["iptables", "-w", "5", "-D", *c], capture_output=True)
                subprocess.run(["iptables", "-w", "5", "-I", *c], check=True, capture_output=True)
            last = chains
            log("policies:", len(chains), "chains")
        except Exception as e:
            log("policies:", repr(e), getattr(e, "stderr", ""))
        time.sleep(1)
