#!/bin/sh
# Makes what the suites against a real API server need, from the Go module proxy and Debian's archive, into a directory
# (default: ~/.cache/sluice/kubernetes): bin/kube-apiserver, bin/etcd and crds/. Some eight minutes the first time on
# two cores, seconds afterwards. api-server.ts finds it there; without it those suites are skipped.
set -eu
umask 022

kubernetes=1.36.3
gateway_api=v1.4.0
traefik=v3.6.12
istio_api=v1.28.0
prometheus_operator=v0.85.0

out=${1:-${SLUICE_KUBERNETES_DIR:-$HOME/.cache/sluice/kubernetes}}
mkdir -p "$out/bin" "$out/crds" "$out/src" "$out/etcd"
cd "$out/src"

# Where a module lies once it has been downloaded.
module_dir() {
  go mod download -json "$1" | sed -n 's/^\s*"Dir": "\(.*\)",*$/\1/p'
}

echo "kube-apiserver $kubernetes"
if [ ! -x "$out/bin/kube-apiserver" ]; then
  # The published module names its siblings as v0.0.0 and points them into its own tree, which the proxy does not serve.
  from=$(cd / && module_dir "k8s.io/kubernetes@v$kubernetes")
  cp "$from/go.mod" "$from/go.sum" .
  chmod u+w go.mod go.sum
  go mod edit -module sluice.example/kubernetes -require "k8s.io/kubernetes@v$kubernetes"
  for sibling in $(sed -n 's/^\s*\(k8s\.io\/[a-z0-9-]*\) v0\.0\.0\( .*\)\{0,1\}$/\1/p' go.mod | sort -u); do
    go mod edit -replace "$sibling=$sibling@v0.${kubernetes#1.}"
  done
  nice -n 19 go build -mod=mod -o "$out/bin/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
fi

echo 'etcd from Debian'
if [ ! -x "$out/bin/etcd" ]; then
  (cd "$out/etcd" && apt-get download etcd-server && for package in *.deb; do dpkg -x "$package" .; done)
  cp "$out/etcd/usr/bin/etcd" "$out/bin/etcd"
fi

echo "definitions: Gateway API $gateway_api, Traefik $traefik, Istio $istio_api, Prometheus operator $prometheus_operator"
copy() {
  cp "$(cd / && module_dir "$1")/$2" "$out/crds/"
}
for kind in gatewayclasses gateways httproutes grpcroutes; do
  copy "sigs.k8s.io/gateway-api@$gateway_api" "config/crd/standard/gateway.networking.k8s.io_$kind.yaml"
done
for kind in traefikservices ingressroutes; do
  copy "github.com/traefik/traefik/v3@$traefik" "docs/content/reference/dynamic-configuration/traefik.io_$kind.yaml"
done
copy "istio.io/api@$istio_api" kubernetes/customresourcedefinitions.gen.yaml
copy "github.com/prometheus-operator/prometheus-operator@$prometheus_operator" \
  example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml
mv "$out/crds/customresourcedefinitions.gen.yaml" "$out/crds/istio.io.yaml"
chmod u+w "$out/crds/"*
echo "done: $out"
