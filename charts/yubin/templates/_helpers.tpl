{{- define "yubin.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What a pod is found by. Takes (list $ component). */}}
{{- define "yubin.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ default $.Chart.Name $.Values.nameOverride }}
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of objects. Those of the chart's version are not on pods: a new chart alone restarts nothing. */}}
{{- define "yubin.labels" -}}
{{- $ := index . 0 -}}
{{ include "yubin.selector" . }}
app.kubernetes.io/part-of: yubin
app.kubernetes.io/managed-by: {{ $.Release.Service }}
app.kubernetes.io/version: {{ $.Values.image.tag | default $.Chart.AppVersion | trunc 63 | quote }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "yubin.image" -}}
{{- $ := index . 0 -}}
{{- printf "%s/%s:%s" (trimSuffix "/" $.Values.image.registry) (index . 1) ($.Values.image.tag | default $.Chart.AppVersion) -}}
{{- end -}}

{{- define "yubin.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "yubin.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "yubin.tlsSecret" -}}
{{- .Values.tls.existingSecret | default (printf "%s-tls" (include "yubin.fullname" .)) -}}
{{- end -}}

{{/* The name under which a gateway is known. Takes (list $ component). */}}
{{- define "yubin.hostname" -}}
{{- $ := index . 0 -}}
{{- (index $.Values (index . 1)).hostname | default $.Values.hostname -}}
{{- end -}}

{{/* All names in the public certificate. */}}
{{- define "yubin.tlsHosts" -}}
{{- $hosts := list .Values.hostname -}}
{{- range list "smtp" "pop3" "imap" }}{{ $hosts = append $hosts (include "yubin.hostname" (list $ .)) }}{{ end -}}
{{- concat $hosts .Values.tls.extraHosts | uniq | toYaml -}}
{{- end -}}

{{- define "yubin.rpcPrefix" -}}
{{- .Values.rpc.secretPrefix | default (printf "%s-rpc-" (include "yubin.fullname" .)) -}}
{{- end -}}

{{/* The picture of the system: ports, and who calls whom. */}}
{{- define "yubin.system" -}}
smtp:
  gateway: true
  calls: [directory, quota, storage]
  listeners:
    smtp: {flag: smtp, port: 2525, proxyPort: 3525}
    submission: {flag: smtp-submission, port: 2587, proxyPort: 3587}
    submissions: {flag: smtp-submissions, port: 2465, proxyPort: 3465}
    lmtp: {flag: smtp-lmtp, port: 2424}
pop3:
  gateway: true
  calls: [directory, storage]
  listeners:
    pop3: {flag: pop3, port: 2110, proxyPort: 3110}
    pop3s: {flag: pop3-tls, port: 2995, proxyPort: 3995}
imap:
  gateway: true
  calls: [directory, quota, storage]
  listeners:
    imap: {flag: imap, port: 2143, proxyPort: 3143}
    imaps: {flag: imap-tls, port: 2993, proxyPort: 3993}
{{- if .Values.autoconfig.enabled }}
autoconfig:
  gateway: true
  alone: true # it has no part in the calls between services
  calls: []
  listeners:
    http: {flag: autoconfig, port: 8081}
    https: {flag: autoconfig-tls, port: 8443}
{{- end }}
storage: {port: 7103, calls: [quota]}
quota: {port: 7102, calls: [directory, storage]}
directory: {port: 7101, calls: []}
{{- end -}}

{{/* Values of a component over the defaults, as YAML. Takes (list $ component). */}}
{{- define "yubin.component" -}}
{{- $ := index . 0 -}}
{{- mustMergeOverwrite (deepCopy $.Values.defaults) (deepCopy (index $.Values (index . 1))) | toYaml -}}
{{- end -}}

{{/* "true" if the component keeps data on a volume. Takes (list $ component). */}}
{{- define "yubin.embedded" -}}
{{- $ := index . 0 -}}
{{- if or (not $.Values.database.existingSecret) (and (eq (index . 1) "storage") (not $.Values.objectStore.s3.bucket)) -}}true{{- end -}}
{{- end -}}

{{/* Where a service is called: by the address of its one pod's Service, which stays when the pod is replaced, or by those of all pods. */}}
{{- define "yubin.target" -}}
{{- $ := index . 0 -}}
{{- $system := include "yubin.system" $ | fromYaml -}}
{{- $suffix := ternary "-rpc" "" (eq (include "yubin.embedded" .) "true") -}}
{{- printf "dns:///%s-%s%s.%s.svc:%v" (include "yubin.fullname" $) (index . 1) $suffix $.Release.Namespace (index $system (index . 1)).port -}}
{{- end -}}

{{- define "yubin.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "yubin.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Volume of a service's certificate. A pod waits until all keys are there. Takes (list $ service). */}}
{{- define "yubin.rpcVolume" -}}
{{- $ := index . 0 -}}
name: rpc
secret:
  secretName: {{ include "yubin.rpcPrefix" $ }}{{ index . 1 }}
  defaultMode: 0440
  items:
    - {key: ca.crt, path: ca.crt}
    - {key: tls.crt, path: tls.crt}
    - {key: tls.key, path: tls.key}
{{- end -}}

{{- define "yubin.rpcEnv" -}}
- {name: YUBIN_RPC_CA, value: /etc/yubin/rpc/ca.crt}
- {name: YUBIN_RPC_CERT, value: /etc/yubin/rpc/tls.crt}
- {name: YUBIN_RPC_KEY, value: /etc/yubin/rpc/tls.key}
{{- end -}}

{{/* A pod that runs the command line tool as the service "admin". Takes (dict "root" $ "component" … "args" … "restart" …), and
     may take volumes, mounts, env, account (another service account), alone (it calls no service). */}}
{{- define "yubin.toolPod" -}}
{{- $ := .root -}}
serviceAccountName: {{ .account | default (include "yubin.serviceAccount" $) }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- include "yubin.podSecurity" $ | nindent 2 }}
{{- with $.Values.defaults.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $.Values.defaults.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $.Values.defaults.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
restartPolicy: {{ .restart }}
containers:
  - name: {{ .component }}
    image: {{ include "yubin.image" (list $ "yubin") }}
    imagePullPolicy: {{ $.Values.image.pullPolicy }}
    args: {{- toYaml .args | nindent 6 }}
    env:
      {{- with .env }}{{ toYaml . | nindent 6 }}{{- end }}
      {{- if not .alone }}
      {{- range $service := list "directory" "quota" "storage" }}
      - {name: YUBIN_{{ upper $service }}_TARGET, value: {{ include "yubin.target" (list $ $service) | quote }}}
      {{- end }}
      {{- include "yubin.rpcEnv" $ | nindent 6 }}
      {{- end }}
    securityContext: {{- include "yubin.containerSecurity" $ | nindent 6 }}
    resources: {{- toYaml $.Values.admin.resources | nindent 6 }}
    volumeMounts:
      {{- if not .alone }}
      - {name: rpc, mountPath: /etc/yubin/rpc, readOnly: true}
      {{- end }}
      - {name: tmp, mountPath: /tmp}
      {{- with .mounts }}{{ toYaml . | nindent 6 }}{{- end }}
volumes:
  {{- if not .alone }}
  - {{- include "yubin.rpcVolume" (list $ "admin") | nindent 4 }}
  {{- end }}
  - name: tmp
    emptyDir: {}
  {{- with .volumes }}{{ toYaml . | nindent 2 }}{{- end }}
{{- end -}}
