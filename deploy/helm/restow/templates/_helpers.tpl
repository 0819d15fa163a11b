{{/* What the objects' names begin with. Service names hold 63 characters, CronJob names 52; one that is cut keeps a sum of the whole. */}}
{{- define "restow.name" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name }}
{{- $name = contains "restow" .Release.Name | ternary .Release.Name (printf "%s-restow" .Release.Name) | replace "." "-" -}}
{{- end -}}
{{- if gt (len $name) 40 }}{{ $name = printf "%s-%s" (trunc 31 $name | trimSuffix "-") (sha256sum $name | trunc 8) }}{{ end -}}
{{- $name }}
{{- end }}

{{- define "restow.release" -}}
app.kubernetes.io/name: restow
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "restow.selector" -}}
{{ include "restow.release" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "restow.ownLabels" -}}
{{ include "restow.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Of every object: commonLabels, `more` and the chart's own as one map, so that none is there twice. */}}
{{- define "restow.labels" -}}
{{- mergeOverwrite (dict) .root.Values.commonLabels (.more | default dict) (include "restow.ownLabels" . | fromYaml) | toYaml }}
{{- end }}

{{- define "restow.podLabels" -}}
{{- include "restow.labels" (dict "root" .root "component" .component "more" .root.Values.podLabels) }}
{{- end }}

{{/* podAnnotations and `more` as one map; empty if there are none. */}}
{{- define "restow.podAnnotations" -}}
{{- with mergeOverwrite (dict) .root.Values.podAnnotations (.more | default dict) }}{{ toYaml . }}{{ end }}
{{- end }}

{{/* `image`: a service, or all. */}}
{{- define "restow.image" -}}
{{- $v := .root.Values -}}
{{- $own := $v.embedded.image -}}
{{- if ne .image "all" }}{{ $own = (get $v.services .image).image }}{{ end -}}
{{- if $own }}{{ $own }}
{{- else }}{{ with $v.image.registry }}{{ . }}/{{ end }}{{ $v.image.repository }}/{{ .image }}:{{ $v.image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "restow.account" -}}
{{ .Values.serviceAccount.name | default (include "restow.name" .) }}
{{- end }}

{{/* The components that run all the time, as a list. */}}
{{- define "restow.running" -}}
{{- eq .Values.mode "embedded" | ternary (list "embedded") (list "api" "detector" "executor" "planner") | toJson }}
{{- end }}

{{/* What a program of this chart uses, by its component; secrets, settings, volumes and network policies follow from it. */}}
{{- define "restow.uses" -}}
{{- $uses := dict
  "detector" (list "database" "kafka" "cloud" "policy")
  "planner" (list "database" "kafka" "cloud")
  "executor" (list "database" "kafka" "cloud")
  "api" (list "database" "kafka" "cloud" "keys")
  "embedded" (list "cloud" "policy" "keys")
  "migrate" (list "database")
  "retention" (list "database" "kafka")
  "topics" (list "kafka")
-}}
{{- get $uses .component | toJson }}
{{- end }}

{{/* The port of an http address. */}}
{{- define "restow.port" -}}
{{- regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" | default (hasPrefix "https" . | ternary "443" "80") }}
{{- end }}
