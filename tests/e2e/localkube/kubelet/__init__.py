"""A node without containers: Pods become local processes in namespaces of their own, against a real
kube-apiserver.

api            JSON client with LIST and WATCH
node           the Node object, which Pods are ours, logs
pods           one Pod from binding to deletion, and its status
containers     one container: start, probes, restarts, stop
probes         httpGet, tcpSocket, exec and grpc checks
volumes        what is mounted, and kept up to date
values         environment, field and resource references
processes      processes in namespaces (through launch.py)
network        the Pod's network namespace
loadbalancer   addresses for Services of type LoadBalancer
"""
