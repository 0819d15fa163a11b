{{- define "restow.name" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains "restow" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-restow" .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "restow.release" -}}
app.kubernetes.io/name: restow
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "restow.selector" -}}
{{ include "restow.release" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "restow.labels" -}}
{{ include "restow.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "restow.image" -}}
{{- $v := .root.Values.image -}}
{{- with $v.registry }}{{ . }}/{{ end }}{{ $v.repository }}/{{ .image }}:{{ $v.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* What a program of this chart uses, by its component; secrets, settings, volumes and network policies follow from it. */}}
{{- define "restow.uses" -}}
{{- $uses := dict
  "detector" (list "database" "kafka" "cloud" "policy")
  "planner" (list "database" "kafka" "cloud")
  "executor" (list "database" "kafka" "cloud")
  "api" (list "database" "kafka" "cloud" "keys")
  "embedded" (list "policy" "keys")
  "migrate" (list "database")
  "retention" (list "database")
  "topics" (list "kafka")
-}}
{{- get $uses .component | toJson }}
{{- end }}
