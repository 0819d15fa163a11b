{{- define "restow.name" -}}
{{- if contains "restow" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-restow" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "restow.selector" -}}
app.kubernetes.io/name: restow
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "restow.labels" -}}
{{ include "restow.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "restow.image" -}}
{{- $v := .root.Values.image -}}
{{- with $v.registry }}{{ . }}/{{ end }}{{ $v.repository }}/{{ .image }}:{{ $v.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* Who the pods are: nobody special, with no way to become so. */}}
{{- define "restow.pod" -}}
serviceAccountName: {{ include "restow.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "restow.container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "restow.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{- define "restow.cloudAddress" -}}
{{- if eq .Values.cloud.kind "simulated" }}http://{{ include "restow.name" . }}-simulated-cloud:8090{{ else }}{{ .Values.cloud.address }}{{ end }}
{{- end }}

{{- define "restow.environment" -}}
- name: RESTOW_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ required "database.existingSecret: name the Secret that holds the database URL" .Values.database.existingSecret }}, key: {{ .Values.database.key }}}
- name: RESTOW_KAFKA_BOOTSTRAP
  value: {{ required "kafka.bootstrap: host:port of your Kafka" .Values.kafka.bootstrap | quote }}
- name: RESTOW_CLOUD
  value: {{ include "restow.cloudAddress" . | quote }}
{{- include "restow.settings" . }}
{{- end }}

{{- define "restow.settings" }}
{{- if .Values.policy }}
- name: RESTOW_POLICY_FILE
  value: /etc/restow/policy.yaml
{{- end }}
{{- include "restow.given" . }}
{{- end }}

{{- define "restow.given" }}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- range $name, $from := .Values.secretSettings }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $from.secret }}, key: {{ $from.key }}}
{{- end }}
{{- end }}

{{- define "restow.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .Values.policy }}
- {name: policy, mountPath: /etc/restow, readOnly: true}
{{- end }}
{{- if .Values.secretFiles }}
- {name: files, mountPath: /etc/restow-files, readOnly: true}
{{- end }}
{{- end }}

{{- define "restow.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- if .Values.policy }}
- name: policy
  configMap: {name: {{ include "restow.name" . }}-policy}
{{- end }}
{{- if .Values.secretFiles }}
- name: files
  secret: {secretName: {{ .Values.secretFiles }}}
{{- end }}
{{- end }}
