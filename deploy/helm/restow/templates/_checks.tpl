{{/* Values that are right one by one but not together. The schema has seen each of them already. */}}
{{- define "restow.checks" -}}
{{- $wrong := list -}}
{{- range list "services" "embedded" "places" "network" "names" }}
{{- $wrong = concat $wrong (include (printf "restow.checks.%s" .) $ | fromJsonArray) }}
{{- end }}
{{- with $wrong }}
{{- fail (printf "values:\n  %s" (join "\n  " .)) }}
{{- end }}
{{- end }}

{{- define "restow.checks.services" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- if eq $v.mode "services" }}
{{- $brokers := splitList "," $v.kafka.bootstrap -}}
{{- if not $v.database.existingSecret }}{{ $wrong = append $wrong "database.existingSecret: name the Secret that holds the URL of your PostgreSQL (its key: database.key)" }}{{ end }}
{{- if not $v.kafka.bootstrap }}{{ $wrong = append $wrong "kafka.bootstrap: HOST:PORT of your Kafka, several with commas between" }}
{{- else }}
{{- range $brokers }}
{{- $port := regexFind ":[0-9]{1,5}$" (trim .) | trimPrefix ":" | int }}
{{- if or (not (regexMatch "^([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$" (trim .))) (lt $port 1) (gt $port 65535) }}{{ $wrong = append $wrong (printf "kafka.bootstrap: %q is no HOST:PORT with a port from 1 to 65535" .) }}{{ end }}
{{- end }}
{{- end }}
{{- if and (hasPrefix "SASL" $v.kafka.protocol) (not $v.kafka.sasl.existingSecret) }}{{ $wrong = append $wrong (printf "kafka.sasl.existingSecret: kafka.protocol %s needs a Secret with the password" $v.kafka.protocol) }}{{ end }}
{{- if and (not (hasPrefix "SASL" $v.kafka.protocol)) $v.kafka.sasl.existingSecret }}{{ $wrong = append $wrong (printf "kafka.protocol: %s does not use kafka.sasl; SASL_SSL does" $v.kafka.protocol) }}{{ end }}
{{- if and (not (hasSuffix "SSL" $v.kafka.protocol)) (or $v.kafka.tls.existingSecret $v.kafka.tls.clientSecret) }}{{ $wrong = append $wrong (printf "kafka.protocol: %s does not use kafka.tls; SSL and SASL_SSL do" $v.kafka.protocol) }}{{ end }}
{{- if and (hasPrefix "verify" $v.database.tls.mode) (not $v.database.tls.existingSecret) }}{{ $wrong = append $wrong (printf "database.tls.existingSecret: mode %s needs a Secret with the authority's certificate" $v.database.tls.mode) }}{{ end }}
{{- if and (eq $v.topics.by "strimzi") (not $v.topics.strimziCluster) }}{{ $wrong = append $wrong "topics.strimziCluster: the name of the Kafka resource that the topics belong to" }}{{ end }}
{{- if and (ne $v.topics.by "none") (eq (int $v.topics.replication) 1) (gt (len $brokers) 1) }}{{ $wrong = append $wrong (printf "topics.replication: one copy is lost with its broker, and kafka.bootstrap names %d; 3 where you have three" (len $brokers)) }}{{ end }}
{{- if and $v.retention.enabled (le (mul $v.retention.keepDays 24) (max $v.topics.hours.telemetry $v.topics.hours.commands $v.topics.hours.healing)) }}{{ $wrong = append $wrong "retention.keepDays: more than the longest of topics.hours, because what the broker may deliver again must be known here" }}{{ end }}
{{- if ge (float64 $v.stopDelaySeconds) (float64 $v.terminationGracePeriodSeconds) }}{{ $wrong = append $wrong "stopDelaySeconds: less than terminationGracePeriodSeconds, or an api is killed while it still serves" }}{{ end }}
{{- range $name, $service := $v.services }}
{{- $auto := $service.autoscaling }}
{{- if gt (int $auto.min) (int $auto.max) }}{{ $wrong = append $wrong (printf "services.%s.autoscaling.min: not above max" $name) }}{{ end }}
{{- /* an api beyond that number still answers HTTP */}}
{{- if or (ne $name "api") (eq $auto.by "lag") }}
{{- $most := eq $auto.by "none" | ternary $service.replicas $auto.max | int }}
{{- if gt $most (int $v.topics.partitions) }}{{ $wrong = append $wrong (printf "services.%s.%s: %d, and more than topics.partitions (%d) have nothing to do" $name (eq $auto.by "none" | ternary "replicas" "autoscaling.max") $most (int $v.topics.partitions)) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{/* What mode embedded would leave aside without a word. */}}
{{- define "restow.checks.embedded" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- if eq $v.mode "embedded" }}
{{- if $v.kafka.bootstrap }}{{ $wrong = append $wrong "kafka.bootstrap: mode embedded has a log of its own; mode services uses a Kafka" }}{{ end }}
{{- if $v.database.existingSecret }}{{ $wrong = append $wrong "database.existingSecret: mode embedded has a database of its own; mode services uses a PostgreSQL" }}{{ end }}
{{- if $v.domains }}{{ $wrong = append $wrong "domains: mode embedded looks after all that the cloud has; mode services chooses" }}{{ end }}
{{- range $name, $service := $v.services }}
{{- if or (ne (int $service.replicas) 2) (ne $service.autoscaling.by "none") }}{{ $wrong = append $wrong (printf "services.%s.replicas, autoscaling: mode embedded is one process; mode services has as many as you like" $name) }}{{ end }}
{{- if $service.settings }}{{ $wrong = append $wrong (printf "services.%s.settings: mode embedded is one process; its settings are under settings" $name) }}{{ end }}
{{- end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{/* The cloud, and the way in. */}}
{{- define "restow.checks.places" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- if and (eq $v.cloud.kind "address") (not $v.cloud.address) }}{{ $wrong = append $wrong "cloud.address: http://HOST:PORT of the simulated cloud" }}{{ end }}
{{- if and (eq $v.cloud.kind "openstack") (not (and $v.cloud.name $v.cloud.existingSecret)) }}{{ $wrong = append $wrong "cloud.name and cloud.existingSecret: a cloud of clouds.yaml, and the Secret that holds that file" }}{{ end }}
{{- if and $v.ingress.enabled $v.httpRoute.enabled }}{{ $wrong = append $wrong "ingress.enabled and httpRoute.enabled: one of them" }}{{ end }}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}{{ $wrong = append $wrong "httpRoute.parentRefs: the Gateway that carries the route" }}{{ end }}
{{- if and $v.service.nodePort (eq $v.service.type "ClusterIP") }}{{ $wrong = append $wrong "service.nodePort: only with service.type NodePort or LoadBalancer" }}{{ end }}
{{- if and (not $v.serviceAccount.create) (not $v.serviceAccount.name) }}{{ $wrong = append $wrong "serviceAccount.name: with serviceAccount.create false, the one that is there" }}{{ end }}
{{- if and $v.podMonitor.enabled $v.serviceMonitor.enabled }}{{ $wrong = append $wrong "podMonitor.enabled and serviceMonitor.enabled: one of them, or all is counted twice" }}{{ end }}
{{- toJson $wrong }}
{{- end }}

{{/* Whom the policies would shut out. */}}
{{- define "restow.checks.network" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- if $v.networkPolicy.enabled }}
{{- if and (or $v.podMonitor.enabled $v.serviceMonitor.enabled) (not $v.networkPolicy.monitoringFrom) }}{{ $wrong = append $wrong "networkPolicy.monitoringFrom: say where your Prometheus is, or no service lets it in; [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}] for example" }}{{ end }}
{{- if and (ne $v.service.type "ClusterIP") (not $v.networkPolicy.apiFrom) }}{{ $wrong = append $wrong (printf "networkPolicy.apiFrom: a Service of type %s is called from outside the cluster; say from where, [{ipBlock: {cidr: 192.0.2.0/24}}] for example" $v.service.type) }}{{ end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{/* Names that the chart gives itself. */}}
{{- define "restow.checks.names" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- $known := .Files.Get "files/settings.yaml" | fromYaml -}}
{{- $given := list (list "settings" $v.settings) (list "secretSettings" $v.secretSettings) -}}
{{- range $name, $service := $v.services }}{{ $given = append $given (list (printf "services.%s.settings" $name) $service.settings) }}{{ end -}}
{{- range $given }}
{{- $where := index . 0 }}
{{- range $name, $_ := index . 1 }}
{{- if not (hasKey $known $name) }}{{ $wrong = append $wrong (printf "%s.%s: there is no such setting; docs/settings.md has those that there are" $where $name) }}
{{- else if get $known $name }}{{ $wrong = append $wrong (printf "%s.%s: the chart sets it: %s" $where $name (get $known $name)) }}
{{- else if and (eq $where "secretSettings") (hasKey $v.settings $name) }}{{ $wrong = append $wrong (printf "secretSettings.%s: it is under settings too" $name) }}{{ end }}
{{- end }}
{{- end }}
{{- range $name, $_ := $v.extraEnv }}
{{- if hasPrefix "RESTOW_" $name }}{{ $wrong = append $wrong (printf "extraEnv.%s: settings has those of Restow" $name) }}
{{- else if hasPrefix "PGSSL" $name }}{{ $wrong = append $wrong (printf "extraEnv.%s: the chart sets it: database.tls" $name) }}
{{- else if eq $name "OS_CLIENT_CONFIG_FILE" }}{{ $wrong = append $wrong (printf "extraEnv.%s: the chart sets it: cloud.existingSecret" $name) }}{{ end }}
{{- end }}
{{- $own := include "restow.ownLabels" (dict "root" . "component" "") | fromYaml -}}
{{- range $where, $labels := dict "commonLabels" $v.commonLabels "podLabels" $v.podLabels }}
{{- range $name, $_ := $labels }}
{{- if hasKey $own $name }}{{ $wrong = append $wrong (printf "%s.%s: the chart sets it" $where $name) }}{{ end }}
{{- end }}
{{- end }}
{{- range $v.extraVolumes }}
{{- if has .name (list "tmp" "data" "policy" "database" "database-client" "kafka" "kafka-client" "cloud" "keys" "files") }}{{ $wrong = append $wrong (printf "extraVolumes: the chart has a volume %s" .name) }}{{ end }}
{{- end }}
{{- if not (regexMatch "^[a-z]" (include "restow.name" .)) }}{{ $wrong = append $wrong (printf "fullnameOverride: a name that begins with a letter, because %s does not" (include "restow.name" .)) }}{{ end }}
{{- toJson $wrong }}
{{- end }}
