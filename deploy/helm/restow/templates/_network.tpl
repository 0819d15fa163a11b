{{/* What a program may reach, by what it uses: names, and the places that its settings name. */}}
{{- define "restow.egress" -}}
{{- $v := .root.Values -}}
{{- $n := $v.networkPolicy -}}
{{- $uses := include "restow.uses" . | fromJsonArray -}}
- ports: # names
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
  {{- with $n.dnsTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- if has "database" $uses }}
- ports: # PostgreSQL
    - {port: {{ $v.database.port }}, protocol: TCP}
  {{- with $n.databaseTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if has "kafka" $uses }}
- ports: # Kafka
    {{- range include "restow.kafkaPorts" .root | fromJsonArray }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with $n.kafkaTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if has "cloud" $uses }}
{{- if ne $v.cloud.kind "simulated" }}
- ports: # the cloud
    {{- range include "restow.cloudPorts" .root | fromJsonArray }}
    - {port: {{ .port }}, protocol: {{ .protocol }}}
    {{- end }}
  {{- with $n.cloudTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- else if eq $v.mode "services" }}
- ports: # the simulated cloud
    - {port: 8090, protocol: TCP}
  to:
    - podSelector:
        matchLabels: {{- include "restow.selector" (dict "root" .root "component" "simulated-cloud") | nindent 10 }}
{{- end }}
{{- end }}
{{- if has .component (include "restow.running" .root | fromJsonArray) }}
{{- with get (include "restow.settings" . | fromJson) "RESTOW_OTLP_ENDPOINT" }}
- ports: # the collector of traces
    - {port: {{ include "restow.port" . }}, protocol: TCP}
{{- end }}
{{- with $n.moreEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "restow.kafkaPorts" -}}
{{- $ports := .Values.kafka.ports -}}
{{- if not $ports }}
{{- range splitList "," .Values.kafka.bootstrap }}{{ $ports = append $ports (regexFind "[0-9]+$" (trim .) | int) }}{{ end }}
{{- end }}
{{- uniq $ports | toJson }}
{{- end }}

{{- define "restow.cloudPorts" -}}
{{- if eq .Values.cloud.kind "openstack" }}{{ toJson .Values.cloud.egress }}
{{- else }}{{ list (dict "port" (include "restow.port" .Values.cloud.address | int) "protocol" "TCP") | toJson }}
{{- end }}
{{- end }}
