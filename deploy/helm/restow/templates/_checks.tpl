{{/* Values that are right one by one but not together. The schema has seen each of them already. */}}
{{- define "restow.checks" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- if eq $v.mode "services" }}
{{- if not $v.database.existingSecret }}{{ $wrong = append $wrong "database.existingSecret: name the Secret that holds the URL of your PostgreSQL (its key: database.key)" }}{{ end }}
{{- if not $v.kafka.bootstrap }}{{ $wrong = append $wrong "kafka.bootstrap: HOST:PORT of your Kafka, several with commas between" }}{{ end }}
{{- if and (hasPrefix "SASL" $v.kafka.protocol) (not $v.kafka.sasl.existingSecret) }}{{ $wrong = append $wrong (printf "kafka.sasl.existingSecret: kafka.protocol %s needs a Secret with the password" $v.kafka.protocol) }}{{ end }}
{{- if and (not (hasPrefix "SASL" $v.kafka.protocol)) $v.kafka.sasl.existingSecret }}{{ $wrong = append $wrong (printf "kafka.protocol: %s does not use kafka.sasl; SASL_SSL does" $v.kafka.protocol) }}{{ end }}
{{- if and (not (hasSuffix "SSL" $v.kafka.protocol)) (or $v.kafka.tls.existingSecret $v.kafka.tls.clientSecret) }}{{ $wrong = append $wrong (printf "kafka.protocol: %s does not use kafka.tls; SSL and SASL_SSL do" $v.kafka.protocol) }}{{ end }}
{{- if and (hasPrefix "verify" $v.database.tls.mode) (not $v.database.tls.existingSecret) }}{{ $wrong = append $wrong (printf "database.tls.existingSecret: mode %s needs a Secret with the authority's certificate" $v.database.tls.mode) }}{{ end }}
{{- if and (eq $v.cloud.kind "address") (not $v.cloud.address) }}{{ $wrong = append $wrong "cloud.address: http://HOST:PORT of the simulated cloud" }}{{ end }}
{{- if and (eq $v.cloud.kind "openstack") (not (and $v.cloud.name $v.cloud.existingSecret)) }}{{ $wrong = append $wrong "cloud.name and cloud.existingSecret: a cloud of clouds.yaml, and the Secret that holds that file" }}{{ end }}
{{- if and (eq $v.topics.by "strimzi") (not $v.topics.strimziCluster) }}{{ $wrong = append $wrong "topics.strimziCluster: the name of the Kafka resource that the topics belong to" }}{{ end }}
{{- if and $v.retention.enabled (le (mul $v.retention.keepDays 24) (max $v.topics.hours.telemetry $v.topics.hours.commands $v.topics.hours.healing)) }}{{ $wrong = append $wrong "retention.keepDays: more than the longest of topics.hours, because what the broker may deliver again must be known here" }}{{ end }}
{{- range $name, $service := $v.services }}
{{- if gt (int $service.autoscaling.min) (int $service.autoscaling.max) }}{{ $wrong = append $wrong (printf "services.%s.autoscaling.min: not above max" $name) }}{{ end }}
{{- end }}
{{- end }}
{{- if and $v.ingress.enabled $v.httpRoute.enabled }}{{ $wrong = append $wrong "ingress.enabled and httpRoute.enabled: one of them" }}{{ end }}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}{{ $wrong = append $wrong "httpRoute.parentRefs: the Gateway that carries the route" }}{{ end }}
{{- with $wrong }}
{{- fail (printf "values:\n  %s" (join "\n  " .)) }}
{{- end }}
{{- end }}
