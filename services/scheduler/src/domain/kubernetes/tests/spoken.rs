//! Every field of the kinds that are read (Kubernetes 1.36, Gateway API 1.4) is heard: it becomes part of the model, or is told with its
//! line. `‹` and `›` mark what is. Fields that a cluster fills in by itself (`status`, `uid`, ...) mean nothing and are not among them.

use super::*;
use crate::domain::told::unheard;

/// Of a Deployment, a StatefulSet, a DaemonSet, a Job and a CronJob; the first word is the kind.
const WORKLOADS: &[(&str, &str)] = &[
    ("Deployment", "‹replicas: 2›"),
    ("Deployment", "‹minReadySeconds: 5›"),
    ("Deployment", "‹paused: true›"),
    ("Deployment", "‹progressDeadlineSeconds: 60›"),
    ("Deployment", "‹revisionHistoryLimit: 3›"),
    ("Deployment", "‹strategy: {type: Recreate}›"),
    ("Deployment", "strategy: {rollingUpdate: {‹maxSurge: 3›}}"),
    ("Deployment", "strategy: {rollingUpdate: {‹maxUnavailable: 1›}}"),
    ("Deployment", "‹other: 1›"),
    ("StatefulSet", "‹serviceName: web›"),
    ("StatefulSet", "‹podManagementPolicy: Parallel›"),
    ("StatefulSet", "updateStrategy: {‹type: OnDelete›}"),
    ("StatefulSet", "updateStrategy: {rollingUpdate: {‹partition: 1›}}"),
    ("StatefulSet", "updateStrategy: {rollingUpdate: {‹maxUnavailable: 2›}}"),
    ("StatefulSet", "‹persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}›"),
    ("StatefulSet", "‹ordinals: {start: 1}›"),
    ("StatefulSet", "‹volumeClaimTemplates: [{metadata: {name: d}, spec: {resources: {requests: {storage: 1Gi}}}}]›"),
    ("StatefulSet", "volumeClaimTemplates: [{metadata: {name: d‹, labels: {a: b}›}, spec: {resources: {requests: {storage: 1Gi}}}}]"),
    ("DaemonSet", "updateStrategy: {rollingUpdate: {‹maxSurge: 1›}}"),
    ("DaemonSet", "updateStrategy: {‹type: OnDelete›}"),
    ("Job", "‹parallelism: 2›"),
    ("Job", "‹completions: 3›"),
    ("Job", "‹completionMode: Indexed›"),
    ("Job", "‹backoffLimit: 2›"),
    ("Job", "‹backoffLimitPerIndex: 2›"),
    ("Job", "‹maxFailedIndexes: 2›"),
    ("Job", "‹activeDeadlineSeconds: 5›"),
    ("Job", "‹ttlSecondsAfterFinished: 5›"),
    ("Job", "‹suspend: true›"),
    ("Job", "‹podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [42]}}]}›"),
    ("Job", "‹successPolicy: {rules: [{succeededCount: 1}]}›"),
    ("Job", "‹podReplacementPolicy: Failed›"),
    ("Job", "‹managedBy: example.org/other›"),
    ("Job", "‹manualSelector: true›"),
];

/// Of a CronJob.
const CRON: &[&str] = &[
    "‹timeZone: Europe/Berlin›",
    "‹concurrencyPolicy: Forbid›",
    "‹suspend: true›",
    "‹startingDeadlineSeconds: 5›",
    "‹successfulJobsHistoryLimit: 1›",
    "‹failedJobsHistoryLimit: 1›",
    "‹other: 1›",
];

/// Of a pod.
const POD: &[&str] = &[
    "‹activeDeadlineSeconds: 5›",
    "affinity: {‹nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In, values: [b]}]}]}}›}",
    "affinity: {‹nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [n]}]}]}}›}",
    "affinity: {‹nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 5, preference: {matchExpressions: [{key: a, operator: Exists}]}}]}›}",
    "affinity: {‹podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: t, labelSelector: {matchLabels: {a: b}}}]}›}",
    "affinity: {‹podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 5, podAffinityTerm: {topologyKey: t}}]}›}",
    "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: t‹, namespaces: [x]›}]}}",
    "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: t‹, namespaceSelector: {}›}]}}",
    "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: t‹, matchLabelKeys: [a]›}]}}",
    "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: t‹, mismatchLabelKeys: [a]›}]}}",
    "‹automountServiceAccountToken: false›",
    "dnsConfig: {‹nameservers: [10.0.0.1]›}",
    "dnsConfig: {‹searches: [example.org]›}",
    "dnsConfig: {‹options: [{name: ndots, value: '2'}]›}",
    "‹dnsPolicy: None›",
    "‹enableServiceLinks: false›",
    "‹ephemeralContainers: [{name: e, image: x}]›",
    "‹hostAliases: [{ip: 192.0.2.1, hostnames: [a]}]›",
    "‹hostIPC: true›",
    "‹hostNetwork: true›",
    "‹hostPID: true›",
    "‹hostUsers: false›",
    "‹hostname: h›",
    "‹hostnameOverride: h›",
    "‹imagePullSecrets: [{name: s}]›",
    "‹initContainers: [{name: i, image: x}]›",
    "initContainers: [{name: i, image: x‹, restartPolicy: Always›}]",
    "initContainers: [{name: i, image: x‹, restartPolicy: OnFailure›}]",
    "‹nodeName: n›",
    "‹nodeSelector: {a: b}›",
    "‹os: {name: windows}›",
    "‹overhead: {cpu: 1}›",
    "‹preemptionPolicy: Never›",
    "‹priority: 5›",
    "‹priorityClassName: high›",
    "‹readinessGates: [{conditionType: example.org/x}]›",
    "‹resourceClaims: [{name: x}]›",
    "‹resources: {limits: {cpu: 1}}›",
    "‹restartPolicy: OnFailure›",
    "‹runtimeClassName: kata›",
    "‹schedulerName: own›",
    "‹schedulingGates: [{name: x}]›",
    "‹schedulingGroup: {podGroupName: x}›",
    "securityContext: {‹appArmorProfile: {type: Unconfined}›}",
    "securityContext: {‹fsGroup: 5›}",
    "securityContext: {‹fsGroupChangePolicy: OnRootMismatch›}",
    "securityContext: {‹runAsGroup: 5›}",
    "securityContext: {‹runAsNonRoot: true›}",
    "securityContext: {‹runAsUser: 5›}",
    "securityContext: {‹seLinuxChangePolicy: MountOption›}",
    "securityContext: {‹seLinuxOptions: {level: s0}›}",
    "securityContext: {‹seccompProfile: {type: Localhost, localhostProfile: p.json}›}",
    "securityContext: {‹supplementalGroups: [5]›}",
    "securityContext: {‹supplementalGroupsPolicy: Strict›}",
    "securityContext: {‹sysctls: [{name: net.core.somaxconn, value: '1024'}]›}",
    "securityContext: {‹windowsOptions: {hostProcess: true}›}",
    "‹serviceAccount: x›",
    "‹serviceAccountName: x›",
    "‹setHostnameAsFQDN: true›",
    "‹shareProcessNamespace: true›",
    "‹subdomain: x›",
    "‹terminationGracePeriodSeconds: 5›",
    "‹tolerations: [{operator: Exists}]›",
    "tolerations: [{key: a‹, value: b›}]",
    "tolerations: [{key: a, operator: Exists‹, effect: NoExecute›}]",
    "tolerations: [{key: a, operator: Exists, effect: NoExecute‹, tolerationSeconds: 5›}]",
    "‹topologySpreadConstraints: [{topologyKey: t, maxSkew: 1}]›",
    "topologySpreadConstraints: [{topologyKey: t, maxSkew: 1‹, minDomains: 2›}]",
    "topologySpreadConstraints: [{topologyKey: t, maxSkew: 1‹, whenUnsatisfiable: ScheduleAnyway›}]",
    "topologySpreadConstraints: [{topologyKey: t, maxSkew: 1‹, labelSelector: {matchLabels: {a: b}}›}]",
    "topologySpreadConstraints: [{topologyKey: t, maxSkew: 1‹, matchLabelKeys: [a]›}]",
    "topologySpreadConstraints: [{topologyKey: t, maxSkew: 1‹, nodeAffinityPolicy: Ignore›}]",
    "topologySpreadConstraints: [{topologyKey: t, maxSkew: 1‹, nodeTaintsPolicy: Honor›}]",
    "‹workloadRef: {name: x, podGroup: y}›",
];

/// Of a container whose pod has the volume `v`.
const CONTAINER: &[&str] = &[
    "‹args: [a]›",
    "‹command: [a]›",
    "‹env: [{name: A, value: b}]›",
    "‹env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: a}}}]›",
    "env: [{name: A, valueFrom: {configMapKeyRef: {name: none, key: a‹, optional: true›}}}]",
    "‹env: [{name: A, valueFrom: {secretKeyRef: {name: sec, key: s}}}]›",
    "‹env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]›",
    "‹env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]›",
    "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu‹, divisor: 1m›}}}]",
    "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu‹, containerName: other›}}}]",
    "env: [{name: A, valueFrom: {‹fileKeyRef: {path: x, key: y, volumeName: v}›}}]",
    "‹envFrom: [{configMapRef: {name: conf}}]›",
    "envFrom: [{configMapRef: {name: conf}‹, prefix: P_›}]",
    "envFrom: [{secretRef: {name: none‹, optional: true›}}]",
    "‹imagePullPolicy: Always›",
    "lifecycle: {‹postStart: {exec: {command: [a]}}›}",
    "lifecycle: {postStart: {httpGet: {port: 80‹, path: /x›}}}",
    "lifecycle: {postStart: {httpGet: {port: 80‹, host: h›}}}",
    "lifecycle: {postStart: {httpGet: {port: 80‹, scheme: HTTPS›}}}",
    "lifecycle: {postStart: {httpGet: {port: 80‹, httpHeaders: [{name: a, value: b}]›}}}",
    "lifecycle: {‹preStop: {sleep: {seconds: 5}}›}",
    "lifecycle: {‹preStop: {tcpSocket: {port: 80}}›}",
    "lifecycle: {‹stopSignal: SIGUSR1›}",
    "‹livenessProbe: {tcpSocket: {port: 80}}›",
    "‹startupProbe: {exec: {command: [a]}}›",
    "‹readinessProbe: {grpc: {port: 80}}›",
    "readinessProbe: {grpc: {port: 80‹, service: s›}}",
    "readinessProbe: {tcpSocket: {port: 80‹, host: h›}}",
    "readinessProbe: {httpGet: {port: 80‹, path: /x›}}",
    "readinessProbe: {httpGet: {port: 80‹, host: h›}}",
    "readinessProbe: {httpGet: {port: 80‹, scheme: HTTPS›}}",
    "readinessProbe: {httpGet: {port: 80‹, httpHeaders: [{name: a, value: b}]›}}",
    "readinessProbe: {tcpSocket: {port: 80}‹, initialDelaySeconds: 5›}",
    "readinessProbe: {tcpSocket: {port: 80}‹, periodSeconds: 5›}",
    "readinessProbe: {tcpSocket: {port: 80}‹, timeoutSeconds: 5›}",
    "readinessProbe: {tcpSocket: {port: 80}‹, successThreshold: 5›}",
    "readinessProbe: {tcpSocket: {port: 80}‹, failureThreshold: 5›}",
    "livenessProbe: {tcpSocket: {port: 80}‹, terminationGracePeriodSeconds: 5›}",
    "‹ports: [{containerPort: 80}]›",
    "ports: [{containerPort: 80‹, name: n›}]",
    "ports: [{containerPort: 80‹, hostPort: 80›}]",
    "ports: [{containerPort: 80‹, hostIP: 192.0.2.1›}]",
    "ports: [{containerPort: 80‹, protocol: UDP›}]",
    "ports: [{containerPort: 80‹, protocol: SCTP›}]",
    "resources: {‹limits: {cpu: 1}›}",
    "resources: {‹limits: {memory: 64Mi}›}",
    "resources: {‹limits: {ephemeral-storage: 1Gi}›}",
    "resources: {‹limits: {nvidia.com/gpu: 1}›}",
    "resources: {‹limits: {hugepages-2Mi: 4Mi}›}",
    "resources: {‹requests: {cpu: 0.2}›}",
    "resources: {‹requests: {memory: 33554432}›}",
    "resources: {‹claims: [{name: x}]›}",
    "‹resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}]›",
    "‹restartPolicyRules: [{action: Restart}]›",
    "securityContext: {‹allowPrivilegeEscalation: true›}",
    "securityContext: {‹appArmorProfile: {type: Unconfined}›}",
    "securityContext: {capabilities: {‹add: [NET_ADMIN]›}}",
    "securityContext: {capabilities: {‹drop: [ALL]›}}",
    "securityContext: {‹privileged: true›}",
    "securityContext: {‹procMount: Unmasked›}",
    "securityContext: {‹readOnlyRootFilesystem: true›}",
    "securityContext: {‹runAsGroup: 5›}",
    "securityContext: {‹runAsNonRoot: true›}",
    "securityContext: {‹runAsUser: 5›}",
    "securityContext: {‹seLinuxOptions: {type: t}›}",
    "securityContext: {‹seccompProfile: {type: Unconfined}›}",
    "securityContext: {‹windowsOptions: {hostProcess: true}›}",
    "‹stdin: true›",
    "‹stdinOnce: true›",
    "‹terminationMessagePath: /x›",
    "‹terminationMessagePolicy: FallbackToLogsOnError›",
    "‹tty: true›",
    "‹volumeDevices: [{name: v, devicePath: /dev/x}]›",
    "‹volumeMounts: [{name: v, mountPath: /v}]›",
    "volumeMounts: [{name: v, mountPath: /v‹, readOnly: true›}]",
    "volumeMounts: [{name: v, mountPath: /v‹, subPath: x›}]",
    "volumeMounts: [{name: v, mountPath: /v‹, subPathExpr: $(A)›}]",
    "volumeMounts: [{name: v, mountPath: /v‹, mountPropagation: HostToContainer›}]",
    "volumeMounts: [{name: v, mountPath: /v‹, recursiveReadOnly: Enabled›}]",
    "‹workingDir: /w›",
    "‹other: 1›",
];

/// Of a volume that is mounted.
const VOLUME: &[&str] = &[
    "emptyDir: {‹medium: Memory›}",
    "emptyDir: {‹medium: HugePages-2Mi›}",
    "emptyDir: {‹sizeLimit: 1Gi›}",
    "‹hostPath: {path: /x}›",
    "hostPath: {path: /x‹, type: Directory›}",
    "‹nfs: {server: s, path: /p}›",
    "nfs: {server: s, path: /p‹, readOnly: true›}",
    "‹persistentVolumeClaim: {claimName: data}›",
    "persistentVolumeClaim: {claimName: data‹, readOnly: true›}",
    "‹persistentVolumeClaim: {claimName: none}›",
    "‹ephemeral: {volumeClaimTemplate: {spec: {resources: {requests: {storage: 1Gi}}}}}›",
    "‹configMap: {name: conf}›",
    "configMap: {name: conf‹, defaultMode: 0400›}",
    "configMap: {name: conf‹, items: [{key: a, path: b}]›}",
    "configMap: {name: conf, items: [{key: a, path: b‹, mode: 256›}]}",
    "configMap: {name: none‹, optional: true›}",
    "configMap: {name: conf, items: [{key: none, path: b}]‹, optional: true›}",
    "‹secret: {secretName: sec}›",
    "secret: {secretName: sec‹, defaultMode: 256›}",
    "secret: {secretName: none‹, optional: true›}",
    "projected: {sources: [{configMap: {name: conf}}]‹, defaultMode: 0400›}",
    "projected: {sources: [‹{secret: {name: sec}}›]}",
    "projected: {sources: [‹{serviceAccountToken: {path: t}}›]}",
    "projected: {sources: [‹{downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}}›]}",
    "projected: {sources: [‹{clusterTrustBundle: {name: b, path: c}}›]}",
    "projected: {sources: [‹{podCertificate: {signerName: s}}›]}",
    "‹downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}›",
    "‹csi: {driver: d}›",
    "‹image: {reference: a/b/e}›",
    "‹gitRepo: {repository: r}›",
    "‹iscsi: {targetPortal: t, iqn: i, lun: 0}›",
    "‹fc: {lun: 0}›",
    "‹cephfs: {monitors: [m]}›",
    "‹rbd: {monitors: [m], image: i}›",
    "‹glusterfs: {endpoints: e, path: p}›",
    "‹awsElasticBlockStore: {volumeID: v}›",
    "‹gcePersistentDisk: {pdName: v}›",
    "‹azureDisk: {diskName: d, diskURI: u}›",
    "‹azureFile: {secretName: s, shareName: n}›",
    "‹cinder: {volumeID: v}›",
    "‹vsphereVolume: {volumePath: p}›",
    "‹portworxVolume: {volumeID: v}›",
    "‹flexVolume: {driver: d}›",
];

/// Objects beside a Deployment `web`, its Service `web` with the port 80, a ConfigMap `conf`, a Secret `sec` and a claim `data`.
const OBJECTS: &[&str] = &[
    "{kind: Namespace, metadata: {name: x}}",
    "{kind: ServiceAccount, metadata: {name: x}}",
    "{kind: PersistentVolume, metadata: {name: x}}",
    "{kind: Endpoints, metadata: {name: x}}",
    "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: x}}",
    "{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: x}}",
    "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: x}}",
    "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: x}}",
    "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: x}}",
    "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: x}}",
    "{apiVersion: resource.k8s.io/v1, kind: ResourceClaimTemplate, metadata: {name: x}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: x}}",
    "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: x}, spec: {}}",
];

/// The fields of other kinds: `apiVersion`, kind, the fields of `spec` that are always there, and the others.
const SPECS: &[(&str, &str, &str, &[&str])] = &[
    (
        "v1",
        "Service",
        "{selector: {app: web}, ports: [{port: 80}], ",
        &[
            "‹type: NodePort›",
            "‹type: LoadBalancer›",
            "‹allocateLoadBalancerNodePorts: false›",
            "‹clusterIP: None›",
            "‹clusterIP: 10.96.0.9›",
            "‹clusterIPs: [10.96.0.9]›",
            "‹externalIPs: [192.0.2.1]›",
            "‹externalName: example.org›",
            "‹externalTrafficPolicy: Local›",
            "‹healthCheckNodePort: 30001›",
            "‹internalTrafficPolicy: Local›",
            "‹ipFamilies: [IPv6]›",
            "‹ipFamilyPolicy: RequireDualStack›",
            "‹loadBalancerClass: example.org/x›",
            "‹loadBalancerIP: 203.0.113.7›",
            "type: LoadBalancer, ‹loadBalancerIP: 203.0.113.7›",
            "‹loadBalancerSourceRanges: [192.0.2.0/24]›",
            "‹publishNotReadyAddresses: true›",
            "‹sessionAffinity: ClientIP›",
            "‹sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}›",
            "‹trafficDistribution: PreferSameNode›",
        ],
    ),
    (
        "v1",
        "Service",
        "{selector: {app: web}, ",
        &[
            "ports: [{port: 80‹, name: n›}]",
            "ports: [{port: 80‹, targetPort: 8080›}]",
            "ports: [{port: 80‹, protocol: UDP›}]",
            "ports: [{port: 80‹, protocol: SCTP›}]",
            "ports: [{port: 80‹, appProtocol: http›}]",
            "ports: [{port: 80‹, appProtocol: https›}]",
            "ports: [{port: 80‹, nodePort: 30080›}]",
            "type: NodePort, ports: [{port: 80‹, nodePort: 30080›}]",
        ],
    ),
    ("v1", "Service", "{type: ExternalName, ", &["‹externalName: example.org›", "externalName: example.org, ‹ports: [{port: 25}]›"]),
    (
        "networking.k8s.io/v1",
        "Ingress",
        "{",
        &[
            "‹ingressClassName: nginx›",
            "‹defaultBackend: {service: {name: web, port: {number: 80}}}›",
            "‹defaultBackend: {resource: {kind: X, name: y}}›",
            "rules: [{‹host: a.test, ›http: {paths: [{path: /, backend: {service: {name: web, port: {number: 80}}}}]}}]",
            "rules: [{host: a.test, http: {paths: [{path: /a, ‹pathType: Exact, ›backend: {service: {name: web, port: {number: 80}}}}]}}]",
            "rules: [{host: a.test, http: {paths: [{‹path: /a, ›backend: {service: {name: web, port: {number: 80}}}}]}}]",
            "rules: [‹{host: a.test}›]",
            "defaultBackend: {service: {name: web, port: {number: 80}}}, rules: [‹{host: a.test}›]",
            "rules: [{host: a.test, http: {paths: [{path: /, backend: {service: {name: web, port: {number: 80}}}}]}}], ‹tls: [{hosts: [a.test], secretName: s}]›",
            "rules: [{host: a.test, http: {paths: [{path: /, backend: {service: {name: web, port: {number: 80}}}}]}}], ‹tls: [{hosts: [b.test], secretName: s}]›",
            "‹tls: [{hosts: [a.test]}]›",
        ],
    ),
    (
        "gateway.networking.k8s.io/v1",
        "Gateway",
        "{",
        &[
            "‹gatewayClassName: x›",
            "‹addresses: [{value: 192.0.2.1}]›",
            "‹infrastructure: {labels: {a: b}}›",
            "‹tls: {frontend: {}}›",
            "listeners: [{name: http, protocol: HTTP‹, port: 80›}]",
            "listeners: [{name: http, protocol: HTTP‹, allowedRoutes: {namespaces: {from: All}}›}]",
            "listeners: [{name: http, ‹protocol: HTTPS›}]",
            "listeners: [{name: http, protocol: HTTP‹, tls: {mode: Terminate}›}]",
        ],
    ),
    (
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        "{",
        &[
            "‹parentRefs: [{name: x}], ›rules: [{backendRefs: [{name: web, port: 80}]}]",
            "‹hostnames: [a.test], ›rules: [{backendRefs: [{name: web, port: 80}]}]",
            "rules: [{backendRefs: [{name: web, port: 80‹, weight: 5›}]}]",
            "rules: [{backendRefs: [{name: web, port: 80‹, namespace: x›}]}]",
            "rules: [{backendRefs: [{name: web, port: 80‹, kind: Other›}]}]",
            "rules: [{backendRefs: [{name: web, port: 80‹, filters: [{type: RequestMirror}]›}]}]",
            "rules: [{‹matches: [{path: {type: Exact, value: /x}}], ›backendRefs: [{name: web, port: 80}]}]",
            "rules: [{‹matches: [{headers: [{name: a, value: b}]}], ›backendRefs: [{name: web, port: 80}]}]",
            "rules: [{matches: [{headers: [{‹type: RegularExpression, ›name: a, value: b}]}], backendRefs: [{name: web, port: 80}]}]",
            "rules: [{‹matches: [{queryParams: [{name: a, value: b}]}], ›backendRefs: [{name: web, port: 80}]}]",
            "rules: [{‹matches: [{method: GET}], ›backendRefs: [{name: web, port: 80}]}]",
            "rules: [{‹timeouts: {request: 5s}, ›backendRefs: [{name: web, port: 80}]}]",
            "rules: [{‹timeouts: {backendRequest: 5s}, ›backendRefs: [{name: web, port: 80}]}]",
            "rules: [{‹retry: {attempts: 3}, ›backendRefs: [{name: web, port: 80}]}]",
            "rules: [{‹sessionPersistence: {type: Cookie}, ›backendRefs: [{name: web, port: 80}]}]",
            "rules: [{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {‹set: [{name: a, value: b}]›}}], backendRefs: [{name: web, port: 80}]}]",
            "rules: [{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {‹add: [{name: a, value: b}]›}}], backendRefs: [{name: web, port: 80}]}]",
            "rules: [{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {‹remove: [a]›}}], backendRefs: [{name: web, port: 80}]}]",
            "rules: [{filters: [{type: URLRewrite, urlRewrite: {‹hostname: h›}}], backendRefs: [{name: web, port: 80}]}]",
            "rules: [{filters: [{type: URLRewrite, urlRewrite: {‹path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}›}}], backendRefs: [{name: web, port: 80}]}]",
            "rules: [{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, ‹replaceFullPath: /x›}}}], backendRefs: [{name: web, port: 80}]}]",
            "rules: [{filters: [‹{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: a, value: b}]}}›], backendRefs: [{name: web, port: 80}]}]",
            "rules: [{filters: [‹{type: RequestMirror, requestMirror: {backendRef: {name: web}}}›], backendRefs: [{name: web, port: 80}]}]",
            "rules: [{filters: [‹{type: CORS, cors: {allowOrigins: ['*']}}›], backendRefs: [{name: web, port: 80}]}]",
            "rules: [{filters: [‹{type: ExtensionRef, extensionRef: {group: g, kind: k, name: n}}›], backendRefs: [{name: web, port: 80}]}]",
            "rules: [‹{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}›]",
            "rules: [‹{matches: [{path: {value: /x}}]}›]",
        ],
    ),
    (
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "{scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, maxReplicas: 5, ",
        &[
            "‹minReplicas: 2›",
            "‹metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 64Mi}}}]›",
            "metrics: [{type: ContainerResource, containerResource: {name: cpu‹, container: web›, target: {type: Utilization, averageUtilization: 50}}}]",
            "‹metrics: [{type: Pods, pods: {metric: {name: m}, target: {type: AverageValue, averageValue: 5}}}]›",
            "metrics: [{type: Object, object: {metric: {name: m}‹, describedObject: {kind: Service, name: web}›, target: {type: Value, value: 5}}}]",
            "metrics: [{type: External, external: {metric: {name: m‹, selector: {matchLabels: {a: b}}›}, target: {type: Value, value: 5}}}]",
            "metrics: [‹{type: Pods}›]",
            "metrics: [‹{type: Odd, odd: {}}›]",
            "behavior: {scaleUp: {‹stabilizationWindowSeconds: 60›}}",
            "behavior: {scaleUp: {‹selectPolicy: Min›}}",
            "behavior: {scaleDown: {‹policies: [{type: Percent, value: 10, periodSeconds: 60}]›}}",
            "behavior: {scaleDown: {‹tolerance: 0.05›}}",
        ],
    ),
    (
        "policy/v1",
        "PodDisruptionBudget",
        "{selector: {matchLabels: {app: web}}, ",
        &["‹minAvailable: 1›", "‹maxUnavailable: 50%›", "‹unhealthyPodEvictionPolicy: AlwaysAllow›", "‹other: 1›"],
    ),
    (
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "{",
        &[
            "‹podSelector: {matchLabels: {app: web}}›",
            "podSelector: {}, ‹policyTypes: [Egress]›",
            "podSelector: {}, ‹ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]›",
            "podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8‹, except: [10.1.0.0/16]›}}]}]",
            "podSelector: {}, ingress: [{from: [{podSelector: {}‹, namespaceSelector: {}›}]}]",
            "podSelector: {}, ingress: [{ports: [{port: 80‹, endPort: 90›}]}]",
            "podSelector: {}, ingress: [{ports: [{port: 80‹, protocol: SCTP›}]}]",
            "podSelector: {}, ‹egress: [{to: [{podSelector: {}}]}]›",
        ],
    ),
    (
        "v1",
        "PersistentVolumeClaim",
        "{",
        &[
            "‹accessModes: [ReadWriteMany]›",
            "resources: {‹requests: {storage: 1Gi}›}",
            "resources: {‹limits: {storage: 1Gi}›}",
            "‹storageClassName: fast›",
            "‹storageClassName: ''›",
            "‹volumeMode: Block›",
            "‹volumeName: v›",
            "‹selector: {matchLabels: {a: b}}›",
            "‹dataSource: {kind: VolumeSnapshot, name: s}›",
            "‹dataSourceRef: {kind: VolumeSnapshot, name: s}›",
            "‹volumeAttributesClassName: gold›",
        ],
    ),
];

/// `metadata` of a Deployment, and whole objects without a spec.
const METADATA: &[&str] = &[
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: more‹, labels: {a: b}›}\nspec: {template: {spec: {containers: [{name: c, image: x}]}}}\n",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: more‹, annotations: {a: b}›}\nspec: {template: {spec: {containers: [{name: c, image: x}]}}}\n",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: more‹, namespace: x›}\nspec: {template: {spec: {containers: [{name: c, image: x}]}}}\n",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: more‹, generateName: mo-›}\nspec: {template: {spec: {containers: [{name: c, image: x}]}}}\n",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: more‹, finalizers: [x]›}\nspec: {template: {spec: {containers: [{name: c, image: x}]}}}\n",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: more‹, ownerReferences: [{name: x}]›}\nspec: {template: {spec: {containers: [{name: c, image: x}]}}}\n",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: more}\nspec: {template: {metadata: {‹labels: {a: b}›}, spec: {containers: [{name: c, image: x}]}}}\n",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: more}\nspec: {template: {metadata: {‹annotations: {a: b}›}, spec: {containers: [{name: c, image: x}]}}}\n",
    "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: more}\nspec: {schedule: '@daily', jobTemplate: {metadata: {‹labels: {a: b}›}, spec: {template: {spec: {containers: [{name: c, image: x}]}}}}}\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n‹data: {a: b}›\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n‹binaryData: {a: /wD/}›\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n‹immutable: true›\n",
    "apiVersion: v1\nkind: Secret\nmetadata: {name: more}\n‹type: kubernetes.io/tls›\n",
    "apiVersion: v1\nkind: Secret\nmetadata: {name: more}\n‹stringData: {a: b}›\n",
    "apiVersion: v1\nkind: Secret\nmetadata: {name: more}\n‹data: {a: YQ==}›\n",
    "apiVersion: v1\nkind: Secret\nmetadata: {name: more}\n‹other: x›\n",
];

/// What the others may name.
const REST: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {a: b}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: sec}\nstringData: {s: t}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {resources: {requests: {storage: 1Gi}}}\n";

/// A workload of that kind, with more fields of its own, of its pod and of its container.
fn workload(kind: &str, own: &str, pod: &str, container: &str) -> String {
    let api = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    format!(
        "apiVersion: {api}\nkind: {kind}\nmetadata: {{name: web}}\nspec:\n  {own}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      {pod}\n      containers:\n      - name: web\n        image: a/b/c\n        {container}\n{REST}"
    )
}

fn web() -> String {
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n---\n";
    format!("{}{service}", workload("Deployment", "", "", ""))
}

#[test]
fn every_field_of_every_kind_is_heard() {
    gantry_testkit::clause("6.3.2.a");
    let cron = |field: &&str| {
        format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: web}}\nspec:\n  schedule: '@daily'\n  {field}\n  jobTemplate: {{spec: {{template: {{spec: {{containers: [{{name: c, image: x}}]}}}}}}}}\n"
        )
    };
    let mut texts: Vec<String> = WORKLOADS.iter().map(|(kind, field)| workload(kind, field, "", "")).collect();
    texts.extend(CRON.iter().map(cron));
    texts.extend(POD.iter().map(|field| workload("Deployment", "", field, "")));
    texts.extend(CONTAINER.iter().map(|field| workload("Deployment", "", "volumes: [{name: v, emptyDir: {}}]", field)));
    let mounted = "volumeMounts: [{name: v, mountPath: /v}]";
    texts.extend(VOLUME.iter().map(|field| workload("Deployment", "", &format!("volumes:\n      - name: v\n        {field}"), mounted)));
    for object in OBJECTS {
        let object = if object.contains("apiVersion") { (*object).to_owned() } else { object.replace("{kind", "{apiVersion: v1, kind") };
        texts.push(format!("{}‹{object}›\n", web()));
    }
    for (api, kind, always, fields) in SPECS {
        texts.extend(fields.iter().map(|field| format!("{}apiVersion: {api}\nkind: {kind}\nmetadata: {{name: more}}\nspec: {always}{field}}}\n", web())));
    }
    texts.extend(METADATA.iter().map(|text| format!("{}{text}", web())));
    let silent = unheard(texts, reading);
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn an_object_whose_name_is_to_be_generated_has_the_beginning_of_it() {
    let text = "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: load-}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}\n";
    assert!(refusals(text).iter().any(|d| d.contains("`load`")), "{:?}", refusals(text));
    let (model, _) = model(text);
    assert!(model.workloads.contains_key(&Name::parse("load").unwrap()));
}

#[test]
fn a_route_without_hosts_has_those_of_its_listeners() {
    let hosts = |listeners: &str, parent: &str| {
        let text = format!(
            "{}apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec: {{listeners: [{listeners}]}}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: web}}\nspec: {{parentRefs: [{{name: edge{parent}}}], rules: [{{backendRefs: [{{name: web, port: 80}}]}}]}}\n",
            web()
        );
        reading(&text).model.services.iter().flat_map(|s| &s.routes).map(|r| r.host.clone()).collect::<Vec<_>>()
    };
    let (one, two) = ("{name: a, protocol: HTTP, port: 80, hostname: a.test}", "{name: b, protocol: HTTP, port: 80, hostname: b.test}");
    assert_eq!(hosts(&format!("{one}, {two}"), ""), ["a.test", "b.test"]);
    assert_eq!(hosts(&format!("{one}, {two}"), ", sectionName: b"), ["b.test"]);
    assert_eq!(hosts(&format!("{one}, {{name: all, protocol: HTTP, port: 80}}"), ""), [""], "one of them serves all hosts");
}

#[test]
fn a_rule_without_paths_leads_to_what_is_left_over() {
    let text = |backend: &str| {
        format!("{}apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: web}}\nspec: {{{backend}rules: [{{host: a.test}}]}}\n", web())
    };
    let read = reading(&text("defaultBackend: {service: {name: web, port: {number: 80}}}, "));
    assert_eq!(read.model.services[0].routes.iter().map(|r| r.host.as_str()).collect::<Vec<_>>(), ["", "a.test"]);
    assert!(refusals(&text("")).iter().any(|d| d.contains("nowhere")));
}

#[test]
fn what_helm_makes_at_a_certain_moment_is_told() {
    let text = format!(
        "{}apiVersion: v1\nkind: Pod\nmetadata:\n  name: test\n  annotations:\n    helm.sh/hook: test\nspec: {{restartPolicy: Never, containers: [{{name: c, image: x}}]}}\n",
        web()
    );
    let line = text.lines().position(|l| l.contains("helm.sh/hook")).unwrap() as u64 + 1;
    assert!(lines(&text).iter().any(|(at, level, _)| (*at, *level) == (line, Level::Unsupported)), "{:?}", lines(&text));
}

#[test]
fn a_path_that_is_matched_as_a_whole_is_replaced_as_a_whole() {
    let route = |kind: &str| {
        format!(
            "{}apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: web}}\nspec: {{hostnames: [a.test], rules: [{{matches: [{{path: {{type: {kind}, value: /x}}}}], filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplaceFullPath, replaceFullPath: /y}}}}}}], backendRefs: [{{name: web, port: 80}}]}}]}}\n",
            web()
        )
    };
    assert!(refusals(&route("Exact")).is_empty(), "{:?}", refusals(&route("Exact")));
    assert!(refusals(&route("PathPrefix")).iter().any(|d| d.contains("as a whole")));
    let text = export("app", &reading(&route("Exact")).model);
    assert!(text.contains("replaceFullPath: /y") && !text.contains("ReplacePrefixMatch"), "{text}");
}
