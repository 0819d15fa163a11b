{{/* What a program may reach, by what it uses: names, and the places that its settings name. */}}
{{- define "restow.egress" -}}
{{- $v := .root.Values -}}
{{- $n := $v.networkPolicy -}}
{{- $uses := include "restow.uses" . | fromJsonArray -}}
{{- if $uses }}
- ports: # names
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
  {{- with $n.dnsTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
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
    {{- range $v.kafka.ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with $n.kafkaTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if has "cloud" $uses }}
{{- if eq $v.cloud.kind "simulated" }}
- ports: # the simulated cloud
    - {port: 8090, protocol: TCP}
  to:
    - podSelector:
        matchLabels: {{- include "restow.selector" (dict "root" .root "component" "simulated-cloud") | nindent 10 }}
{{- else }}
- ports: # the cloud
    {{- range include "restow.cloudPorts" .root | fromJsonArray }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with $n.cloudTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- with $n.moreEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Keystone, Nova, Placement and what answers over HTTPS (Redfish too); or the port of the address. */}}
{{- define "restow.cloudPorts" -}}
{{- if .Values.networkPolicy.cloudPorts }}{{ toJson .Values.networkPolicy.cloudPorts }}
{{- else if eq .Values.cloud.kind "openstack" }}[443, 5000, 8774, 8778]
{{- else }}
{{- $port := regexFind ":[0-9]+$" (urlParse .Values.cloud.address).host | trimPrefix ":" }}
{{- toJson (list (int ($port | default (hasPrefix "https" .Values.cloud.address | ternary "443" "80")))) }}
{{- end }}
{{- end }}
